//! Frames through this crate and through tungstenite, in one run, from memory to memory.
//!
//! Both get the stream by copies out of a template, as from a kernel, and hand what they write to a copy as well. Ours
//! is driven as a thread would with 64 KiB of scratch memory; tungstenite with the limits that suit a proxy of many
//! connections: 8 KiB to read into, writing when all is queued.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use polytty_websocket::{Decoder, Encoder, Event, Kind, Limits, Role, mask};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Bytes, Message, WebSocket};

const SIZES: [usize; 3] = [64, 4 * 1024, 64 * 1024];

/// Payload bytes of one round.
const ROUND: usize = 1024 * 1024;

const SCRATCH: usize = 64 * 1024;

const MAX_MESSAGE: usize = 1024 * 1024;

fn decode(c: &mut Criterion) {
    for (role, name, kind) in [
        (Role::Server, "decode/masked binary", Kind::Binary),
        (Role::Server, "decode/masked text", Kind::Text),
        (Role::Client, "decode/plain binary", Kind::Binary),
    ] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(ROUND as u64));
        for size in SIZES {
            let stream = stream(role, kind, size);
            group.bench_function(BenchmarkId::new("ours", size), |b| {
                let mut decoder = Decoder::new(role, Limits { max_message: MAX_MESSAGE });
                let mut scratch = vec![0; SCRATCH];
                b.iter(|| {
                    let mut seen = (0, 0);
                    for read in stream.chunks(SCRATCH) {
                        scratch[..read.len()].copy_from_slice(read);
                        let mut rest = &mut scratch[..read.len()];
                        while let Some(event) = decoder.decode(&mut rest).expect("it is sound") {
                            let Event::Message { payload, .. } = event else { continue };
                            seen = (seen.0 + 1, seen.1 + black_box(payload).len());
                        }
                    }
                    assert_eq!(seen, (ROUND / size, ROUND));
                });
            });
            group.bench_function(BenchmarkId::new("tungstenite", size), |b| {
                let memory = Memory { stream: &stream, at: 0, sink: Vec::new() };
                let mut socket = WebSocket::from_raw_socket(memory, theirs(role), Some(config()));
                b.iter(|| {
                    let mut bytes = 0;
                    for _ in 0..ROUND / size {
                        let message = socket.read().expect("it is sound");
                        bytes += black_box(message).len();
                    }
                    assert_eq!(bytes, ROUND);
                });
            });
        }
    }
}

fn encode(c: &mut Criterion) {
    for (role, name) in [(Role::Server, "encode/plain"), (Role::Client, "encode/masked")] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(ROUND as u64));
        for size in SIZES {
            let payload = payload(size);
            let total = stream(other(role), Kind::Binary, size).len();
            let mut sink = Vec::with_capacity(2 * ROUND);
            // A turn's worth of messages, then a write.
            let turn = (SCRATCH / size).max(1);
            group.bench_function(BenchmarkId::new("ours", size), |b| {
                let mut encoder = Encoder::new(role, keys());
                let mut out = Vec::new();
                b.iter(|| {
                    sink.clear();
                    for _ in 0..ROUND / size / turn {
                        out.clear();
                        for _ in 0..turn {
                            encoder.message(Kind::Binary, black_box(&payload), &mut out);
                        }
                        sink.extend_from_slice(&out);
                    }
                    assert_eq!(sink.len(), total);
                });
            });
            group.bench_function(BenchmarkId::new("ours, written in place", size), |b| {
                let mut encoder = Encoder::new(role, keys());
                let mut out = Vec::new();
                b.iter(|| {
                    sink.clear();
                    for _ in 0..ROUND / size / turn {
                        out.clear();
                        for _ in 0..turn {
                            encoder.message_with(Kind::Binary, &mut out, |out| {
                                out.extend_from_slice(black_box(&payload));
                            });
                        }
                        sink.extend_from_slice(&out);
                    }
                    assert_eq!(sink.len(), total);
                });
            });
            group.bench_function(BenchmarkId::new("tungstenite", size), |b| {
                let memory = Memory { stream: &[], at: 0, sink: Vec::with_capacity(2 * ROUND) };
                let mut socket = WebSocket::from_raw_socket(memory, theirs(role), Some(config()));
                b.iter(|| {
                    socket.get_mut().sink.clear();
                    for _ in 0..ROUND / size / turn {
                        for _ in 0..turn {
                            let payload = Bytes::copy_from_slice(black_box(&payload));
                            socket.write(Message::Binary(payload)).expect("there is room");
                        }
                        socket.flush().expect("there is room");
                    }
                    assert_eq!(socket.get_ref().sink.len(), total);
                });
            });
        }
    }
}

fn masking(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    for size in [64, 4096] {
        group.throughput(Throughput::Bytes(size as u64));
        let mut bytes = payload(size);
        group.bench_function(BenchmarkId::new("words", size), |b| b.iter(|| mask(black_box(&mut bytes), [1, 2, 3, 4])));
        group.bench_function(BenchmarkId::new("bytes", size), |b| {
            b.iter(|| {
                let key = black_box([1, 2, 3, 4]);
                for (i, byte) in black_box(&mut bytes).iter_mut().enumerate() {
                    *byte ^= key[i % 4];
                }
            });
        });
    }
}

/// As of coloured output: printable ASCII with an escape sequence now and then.
fn payload(size: usize) -> Vec<u8> {
    b"\x1b[01;34mdrwxr-xr-x\x1b[0m 2 root root 4096 Nov 22 a-file-of-some-name\r\n"
        .iter()
        .copied()
        .cycle()
        .take(size)
        .collect()
}

/// What the peer of `role` sends in a round.
fn stream(role: Role, kind: Kind, size: usize) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(other(role), keys()), Vec::new());
    for _ in 0..ROUND / size {
        encoder.message(kind, &payload(size), &mut out);
    }
    out
}

/// Keys that cost next to nothing, always the same sequence.
fn keys() -> impl FnMut() -> [u8; 4] {
    let mut state = 1u32;
    move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        state.to_ne_bytes()
    }
}

fn other(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

fn theirs(role: Role) -> tungstenite::protocol::Role {
    match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(512 * 1024)
        .max_write_buffer_size(1024 * 1024)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// A stream that repeats itself, and a sink.
struct Memory<'a> {
    stream: &'a [u8],
    at: usize,
    sink: Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.stream.len() - self.at);
        buffer[..len].copy_from_slice(&self.stream[self.at..self.at + len]);
        self.at = (self.at + len) % self.stream.len();
        Ok(len)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(30);
    targets = decode, encode, masking
}
criterion_main!(benches);
