//! How fast a session may be: by not reading, so that every byte arrives.

use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{limited, proxy};

/// So many bytes with no pattern that a lost or doubled one would leave as it was.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'!' + (state >> 24) as u8 % 90
    };
    (0..count).map(next).collect()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn input_beyond_its_rate_is_held_back_and_arrives_whole() {
    for (limits, limit) in [
        (json!({ "input_bytes_per_second": "16KiB", "input_messages_per_second": 0 }), "input_bytes_per_second"),
        (json!({ "input_bytes_per_second": "0B", "input_messages_per_second": 16 }), "input_messages_per_second"),
    ] {
        let proxy = proxy(limits);
        let mut client = proxy.open("local").await;
        let typed = noise(64 << 10);
        let line = "stty raw -echo; echo go''-on; head -c 65536 | sha256sum; stty sane\r";
        client.type_text(line).await;
        client.see("go-on").await;
        let started = Instant::now();
        for piece in typed.chunks(1024) {
            client.type_bytes(piece).await;
        }
        client.see(&sha256(&typed)).await;
        let took = started.elapsed();
        // Four seconds' worth, of which one passes at once; what was said before has taken of it, too.
        assert!(took > Duration::from_millis(2800), "{took:?} by {limit}");
        assert!(limited(&proxy, limit).await > 0);
        // It has recovered when a second's worth is free again.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let before = limited(&proxy, limit).await;
        assert_eq!(client.run("echo again").await, "again\r\n");
        assert_eq!(limited(&proxy, limit).await, before);
    }
}

#[tokio::test]
async fn output_beyond_its_rate_is_held_back_and_arrives_whole() {
    let proxy = proxy(json!({ "output_bytes_per_second": "16KiB" }));
    let mut client = proxy.open("local").await;
    let started = Instant::now();
    let shown = client.run("head -c 65536 /dev/zero | tr '\\0' x").await;
    let took = started.elapsed();
    assert_eq!(shown.len(), 65536);
    assert!(shown.bytes().all(|byte| byte == b'x'));
    assert!(took > Duration::from_millis(2800), "{took:?}");
    assert!(limited(&proxy, "output_bytes_per_second").await > 0);
}
