//! Where secrets come from, and that they go nowhere.

use super::*;

/// What must never show.
const SECRET: &str = "hunter2hunter2";

/// A provider whose secret is given as `value`, in line 11.
fn with_secret(value: &str) -> Home {
    Home::new(&format!("{REQUIRED}{PAI}access_key_secret = {value}\n"))
}

fn secret_of(loaded: &Loaded) -> String {
    match &loaded.config.providers[0].kind {
        ProviderKind::PaiDlc(pai) => pai.access_key_secret.expose().to_owned(),
        _ => panic!("a pai-dlc provider"),
    }
}

#[test]
fn a_secret_is_a_string_a_variable_or_a_file() {
    let read = |value: &str, variables: &[(&str, &str)], file: &str| {
        let home = with_secret(value);
        home.write("secret", file);
        secret_of(&home.load(variables).unwrap())
    };
    assert_eq!(read("\"s\"", &[], ""), "s");
    assert_eq!(read("{ env = \"S\" }", &[("S", "from env")], ""), "from env");
    assert_eq!(read("{ file = \"secret\" }", &[], "from file"), "from file");
    assert_eq!(read("{ file = \"secret\" }", &[], "from file\n"), "from file");
    assert_eq!(read("{ file = \"secret\" }", &[], " from file \r\n"), " from file ");
}

#[test]
fn a_secret_that_looks_like_a_number_stays_what_it_is() {
    for text in ["0123456", "1e3", "true", "0x10", "12345678901234567890", "1979-05-27", "[a]", "a,b", "{ env = 1 }"] {
        let home = with_secret("{ env = \"S\" }");
        home.write("secret", text);
        let set = ("POLYTTY__PROVIDERS__PAI__ACCESS_KEY_SECRET", text);
        assert_eq!(secret_of(&with_secret(&format!("\"{text}\"")).load(&[]).unwrap()), text);
        assert_eq!(secret_of(&home.load(&[("S", text)]).unwrap()), text);
        assert_eq!(secret_of(&home.load(&[set]).unwrap()), text);
        assert_eq!(secret_of(&with_secret("{ file = 'secret' }").load(&[set]).unwrap()), text);
    }
}

#[test]
fn a_variable_can_say_where_the_secret_is() {
    const FILE: &str = "POLYTTY__PROVIDERS__PAI__ACCESS_KEY_SECRET__FILE";
    const ENV: &str = "POLYTTY__PROVIDERS__PAI__ACCESS_KEY_SECRET__ENV";
    for value in ["\"old\"", "{ env = \"OLD\" }", "{ file = \"old\" }"] {
        let home = with_secret(value);
        home.write("secret", "new\n");
        assert_eq!(secret_of(&home.load(&[(FILE, "secret")]).unwrap()), "new");
        assert_eq!(secret_of(&home.load(&[(ENV, "NEW"), ("NEW", "newer")]).unwrap()), "newer");
        assert_eq!(
            home.mistakes(&[(FILE, "secret"), (ENV, "NEW"), ("NEW", "newer")])[0],
            format!("{FILE}: {ENV} sets the same key; keep one of the two")
        );
    }
}

#[test]
fn a_secret_that_is_not_there_is_named() {
    assert_eq!(
        with_secret("{ env = \"NO_SUCH\" }").mistakes(&[]),
        ["proxy.toml:11:29: providers.pai.access_key_secret.env: the environment variable NO_SUCH is not set; \
             set it, or give the secret in another way"]
    );
    assert_eq!(
        with_secret("{ file = \"none/such\" }").mistakes(&[]),
        ["proxy.toml:11:30: providers.pai.access_key_secret.file: cannot read none/such: No such file or directory \
             (os error 2)"]
    );
    assert_eq!(
        with_secret("{}").mistakes(&[]),
        ["proxy.toml:11:21: providers.pai.access_key_secret: expected a secret: a string, { env = \"NAME\" } or \
             { file = \"PATH\" }, found a table"]
    );
    let large = with_secret("{ file = \"secret\" }");
    large.write("secret", vec![b'x'; 64 * 1024 + 1]);
    assert!(large.mistakes(&[])[0].ends_with("cannot read secret: the file is larger than 64KiB"));
    large.write("secret", vec![b'x'; 64 * 1024]);
    assert!(large.load(&[]).is_ok());
}

#[test]
fn no_mistake_repeats_a_secret() {
    let number = "31415926535";
    let wrong_values = [
        number.to_owned(),
        format!("{number}{number}{number}"),
        format!("{number}.5"),
        SECRET.to_owned(),
        format!("[\"{SECRET}\"]"),
        format!("{{ env = \"S\", file = \"{SECRET}\" }}"),
        format!("{{ envv = \"{SECRET}\" }}"),
        format!("{{ env = [\"{SECRET}\"] }}"),
        "{ env = true }".to_owned(),
        format!("{{ env \"{SECRET}\" }}"),
        format!("{{ env = \"S\", {SECRET} }}"),
        format!("{{ env =\n{SECRET} }}"),
        format!("{{ env = \"S\",\n\"{SECRET}\"\nx = 1"),
        format!("\n{SECRET}"),
        format!("\"x\"\nsecurity_token {{{SECRET}\" }}"),
        format!("\"{SECRET}"),
        format!("'''{SECRET}\n'''"),
        format!("\"{SECRET}\\n\""),
        format!("\"{SECRET}\\q\""),
        "\"\"".to_owned(),
        "1979-05-27".to_owned(),
        "true".to_owned(),
    ];
    for value in &wrong_values {
        let told = with_secret(value).mistakes(&[]).join("\n");
        assert!((11..=13).any(|line| told.contains(&format!("proxy.toml:{line}:"))), "{told}");
        for secret in [SECRET, number, "1979"] {
            assert!(!told.contains(secret), "{value}: {told}");
        }
    }
    // One that was put under a wrong key, or as a whole where only its hash belongs.
    let url = format!("\"https://user:{SECRET}@example.com\"");
    for line in [
        format!("access_key_secrte = \"{SECRET}\""),
        format!("access_key_secret = \"x\"\nsecurity_token = [\"{SECRET}\"]"),
        format!("access_key_secret = \"x\"\nendpoint = {url}"),
        format!("access_key_secret = \"x\"\nwebsocket_hosts = [{url}]"),
        format!("access_key_secret = \"x\"\nmax_sessions = {url}"),
        format!("access_key_secret = \"x\"\n[tickets]\nstore = \"redis://:{SECRET}@h/x\""),
        format!("access_key_secret = \"x\"\n[[keys]]\nname = \"k\"\nhash = \"{SECRET}\""),
        format!("access_key_secret = \"x\"\n[[keys]]\nname = \"k\"\nhash = \"sha256:{SECRET}\""),
        format!("access_key_secret = \"x\"\n[a]\nb = {SECRET}"),
    ] {
        let told = Home::new(&format!("{REQUIRED}{PAI}{line}\n")).mistakes(&[]).join("\n");
        assert!(!told.is_empty() && !told.contains(SECRET), "{told}");
    }
    let lines = [format!("{SECRET}\nx"), "\u{1b}".to_owned() + SECRET, String::new()];
    for value in &lines {
        let told = with_secret("{ env = \"S\" }").mistakes(&[("S", value)]).join("\n");
        assert!(told.contains("expected a secret on one line, found ") && !told.contains(SECRET), "{told}");
    }
}

#[test]
fn what_was_loaded_does_not_print_secrets() {
    let loaded = with_secret(&format!("\"{SECRET}\"\nsecurity_token = \"{SECRET}\"")).load(&[]).unwrap();
    assert_eq!(secret_of(&loaded), SECRET);
    let printed = format!("{loaded:?} {loaded:#?}");
    assert!(printed.contains("Secret(***)") && !printed.contains(SECRET), "{printed}");
}
