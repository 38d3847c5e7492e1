//! The environments that the simulated server manages, and the containers in them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::random;

/// A Docker host that the server manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The `envId` of calls.
    pub id: u32,
    /// What people call it.
    pub name: &'static str,
    /// How the server reaches its Docker.
    pub connection: Connection,
    /// Its containers. In every environment that works the first one runs.
    pub containers: Vec<Container>,
}

/// How the server reaches an environment's Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// By a socket of its own machine.
    Socket,
    /// By a socket that it may not open.
    SocketDenied,
    /// By TLS to another machine.
    Direct,
    /// By an agent that has dialled in.
    Edge,
    /// By an agent that is not there.
    EdgeOffline,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The name, which calls may give in place of the id.
    pub name: String,
    /// What it does.
    pub state: State,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// Its main process has ended.
    Exited,
    /// It is frozen.
    Paused,
}

const DIRECT_HOST: &str = "docker.internal.example";
const DIRECT_PORT: u16 = 2376;

/// What the server manages. It does not change.
#[derive(Debug)]
pub(super) struct World {
    pub(super) environments: Vec<Environment>,
}

impl World {
    /// Five environments, one for each [`Connection`]. The container that runs has the name `running` in each.
    pub(super) fn new(running: &str) -> Result<Self> {
        use Connection::{Direct, Edge, EdgeOffline, Socket, SocketDenied};
        let container = |name: &str, state| -> Result<Container> {
            Ok(Container { id: random::hex(&random::bytes::<32>()?), name: name.to_owned(), state })
        };
        let places = [
            (Socket, "local"),
            (Edge, "edge"),
            (EdgeOffline, "edge-offline"),
            (SocketDenied, "denied"),
            (Direct, "direct"),
        ];
        let environments = (1..).zip(places).map(|(id, (connection, name))| {
            let containers = vec![
                container(running, State::Running)?,
                container("stopped", State::Exited)?,
                container("paused", State::Paused)?,
            ];
            Ok(Environment { id, name, connection, containers })
        });
        Ok(Self { environments: environments.collect::<Result<_>>()? })
    }

    /// The environment that a call names.
    ///
    /// # Errors
    /// The server's words for none and for an unknown one.
    pub(super) fn environment(&self, id: Option<i64>) -> Result<&Environment, String> {
        let id = id.ok_or("No environment specified")?;
        let known = self.environments.iter().find(|environment| i64::from(environment.id) == id);
        known.ok_or_else(|| format!("Environment {id} not found"))
    }
}

impl Environment {
    /// Whether its terminals go by an agent.
    pub(super) fn is_edge(&self) -> bool {
        matches!(self.connection, Connection::Edge | Connection::EdgeOffline)
    }

    /// The container that a process may be started in.
    ///
    /// # Errors
    /// Docker's words, or the server's if it does not reach Docker.
    pub(super) fn exec_target(&self, container: &str, user: &str) -> Result<&Container, String> {
        if self.connection == Connection::SocketDenied {
            return Err("Docker socket not accessible".to_owned());
        }
        let found = self.container(container).ok_or_else(|| format!("No such container: {container}"))?;
        match found.state {
            State::Running if is_user(user) => Ok(found),
            State::Running => Err(format!("unable to find user {user}: no matching entries in passwd file")),
            State::Exited => Err(format!("container {} is not running", found.id)),
            State::Paused => Err(format!("Container {} is paused, unpause the container before exec", found.id)),
        }
    }

    /// By its id, its name, or the beginning of its id if there is no other.
    pub(super) fn container(&self, named: &str) -> Option<&Container> {
        let exact = self.containers.iter().find(|container| container.id == named || container.name == named);
        let begins = |container: &&Container| !named.is_empty() && container.id.starts_with(named);
        exact.or_else(|| {
            let mut beginning = self.containers.iter().filter(begins);
            beginning.next().filter(|_| beginning.next().is_none())
        })
    }

    /// As `GET /api/environments` shows it.
    pub(super) fn to_json(&self) -> Value {
        let (kind, socket_path, host, port, protocol) = match self.connection {
            Connection::Socket | Connection::SocketDenied => {
                ("socket", json!("/var/run/docker.sock"), Value::Null, json!(2375), "http")
            }
            Connection::Direct => ("direct", Value::Null, json!(DIRECT_HOST), json!(DIRECT_PORT), "https"),
            Connection::Edge | Connection::EdgeOffline => {
                ("hawser-edge", Value::Null, Value::Null, json!(2375), "http")
            }
        };
        json!({
            "id": self.id,
            "name": self.name,
            "host": host,
            "port": port,
            "protocol": protocol,
            "connectionType": kind,
            "socketPath": socket_path,
        })
    }

    /// The `connectionInfo` of a created exec.
    pub(super) fn connection_info(&self) -> Value {
        match self.connection {
            Connection::Socket | Connection::SocketDenied => json!({"type": "socket"}),
            Connection::Direct => json!({"type": "https", "host": DIRECT_HOST, "port": DIRECT_PORT}),
            Connection::Edge | Connection::EdgeOffline => json!({"type": "http", "host": "localhost", "port": 2375}),
        }
    }
}

/// A user or `user:group` that the containers know: some names, and every number.
fn is_user(user: &str) -> bool {
    let known = |name: &str| name.parse::<u32>().is_ok() || ["root", "www-data", "nobody"].contains(&name);
    match user.split_once(':') {
        Some((user, group)) => known(user) && known(group),
        None => known(user),
    }
}

/// The shells that the containers have, and those that they do not have. The former run the shell of the options.
pub(super) const SHELLS: &[(&str, &str, bool)] = &[
    ("/bin/bash", "Bash", true),
    ("/bin/sh", "Shell (sh)", true),
    ("/bin/zsh", "Zsh", false),
    ("/bin/ash", "Ash", false),
];

/// Whether the containers have this shell.
pub(super) fn has_shell(shell: &str) -> bool {
    let is = |path: &str| path == shell || (!shell.contains('/') && path.strip_prefix("/bin/") == Some(shell));
    SHELLS.iter().any(|(path, _, there)| *there && is(path))
}

/// Docker's words for a shell that is not there.
pub(super) fn no_such_shell(shell: &str) -> String {
    let why = if shell.contains('/') {
        format!("stat {shell}: no such file or directory")
    } else {
        "executable file not found in $PATH".to_owned()
    };
    format!(
        "OCI runtime exec failed: exec failed: unable to start container process: exec: {shell:?}: {why}: unknown\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_found_by_name_id_and_unambiguous_beginning() {
        let mut world = World::new("box").unwrap();
        let environment = &mut world.environments[0];
        for (container, id) in environment.containers.iter_mut().zip(["ab12", "ab34", "cd56"]) {
            container.id = id.to_owned();
        }
        let name = |named: &str| environment.container(named).map(|container| container.name.as_str());
        assert_eq!(name("box"), Some("box"));
        assert_eq!(name("ab34"), Some("stopped"));
        assert_eq!(name("c"), Some("paused"));
        for none in ["ab", "", "x", "ab123", "BOX"] {
            assert_eq!(name(none), None, "{none}");
        }
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        let world = World::new("box").unwrap();
        let local = world.environment(Some(1)).unwrap();
        let refusal = |container: &str, user: &str| local.exec_target(container, user).unwrap_err();
        assert!(local.exec_target("box", "1000:www-data").is_ok());
        assert_eq!(refusal("nope", "root"), "No such container: nope");
        assert!(refusal("stopped", "root").ends_with(" is not running"));
        assert!(refusal("paused", "root").ends_with(" is paused, unpause the container before exec"));
        assert!(refusal("box", "mallory").starts_with("unable to find user mallory"));
        assert_eq!(world.environment(None).unwrap_err(), "No environment specified");
        assert_eq!(world.environment(Some(99)).unwrap_err(), "Environment 99 not found");
        assert_eq!(world.environments[3].exec_target("box", "root").unwrap_err(), "Docker socket not accessible");
    }

    #[test]
    fn two_shells_are_there() {
        assert!(["/bin/sh", "/bin/bash", "sh", "bash"].into_iter().all(has_shell));
        assert!(!["/bin/zsh", "/sh", "fish", "", "bash -l"].into_iter().any(has_shell));
        assert!(no_such_shell("/bin/zsh").contains("exec: \"/bin/zsh\": stat /bin/zsh: no such file"));
        assert!(no_such_shell("fish").contains("not found in $PATH"));
    }
}
