//! How each order is carried out.

use std::io;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use polytty_workload::Corpus;
use tokio::time::interval;

use super::client::Client;
use super::{Connectors, Day, Done, Door, Order};
use crate::source::BURST_CORPUS;
use crate::wire::BLOCK;

/// Whoever types with pauses stops after so long, however few keys that were.
const TYPING: Duration = Duration::from_secs(20);

/// Sessions that are left side by side.
const LEAVING: usize = 32;

pub(super) async fn carry_out(tls: &Connectors, clients: &mut Vec<Client>, order: Order) -> io::Result<Done> {
    // Made before the clock runs.
    let block = match &order {
        Order::Bulk { corpus, .. } | Order::KeysBeside { corpus, .. } => corpus_of(corpus)?.block(BLOCK),
        Order::Bursts { kib, .. } => burst(*kib),
        _ => Vec::new(),
    };
    let started = Instant::now();
    let mut done = Done::default();
    match order {
        Order::Open { doors } => {
            let opened = try_join_all(doors.iter().map(|door| open(tls, door))).await?;
            for (client, latency) in opened {
                clients.push(client);
                done.latencies.push(latency);
            }
        }
        Order::Bulk { session, mib, is_pressed, .. } => {
            if !is_pressed {
                clients[session].press(b"g").await?;
            }
            done.bytes = clients[session].bulk(&block, mib).await?;
        }
        Order::Paste { session, mib } => done.bytes = clients[session].paste(mib).await?,
        Order::Keys { sessions, count, pause_ms } => {
            done.latencies = keys(clients, &sessions, count, Duration::from_millis(pause_ms)).await?;
        }
        Order::KeysBeside { session, flood, mib, .. } => {
            let (typist, flooded) = two(clients, session, flood)?;
            flooded.press(b"g").await?;
            done.bytes = tokio::select! {
                bytes = flooded.bulk(&block, mib) => bytes?,
                broken = typist.type_on(&mut done.latencies) => return Err(broken),
            };
        }
        Order::Bursts { sessions, times, side_by_side, .. } => {
            done.bytes = (block.len() * times * sessions.len()) as u64;
            done.latencies = match side_by_side {
                true => {
                    let all = picked(clients, &sessions);
                    try_join_all(all.into_iter().map(|client| bursts(client, &block, times))).await?
                }
                false => bursts_in_turn(clients, &sessions, &block, times).await?,
            };
        }
        Order::Press { sessions } => {
            for session in sessions {
                clients[session].press(b"g").await?;
            }
        }
        Order::Come { doors } => {
            for door in &doors {
                done.latencies.push(come_and_go(tls, door).await?);
            }
        }
        Order::Day(day) => done.latencies = spend(tls, clients, &day).await?,
        Order::Shell { session, mib, keys } => {
            (done.bytes, done.seconds) = clients[session].shell_output(mib).await?;
            done.latencies = clients[session].shell_keys(keys).await?;
            return Ok(sorted(done));
        }
        Order::Leave => leave(clients).await,
    }
    done.seconds = started.elapsed().as_secs_f64();
    Ok(sorted(done))
}

fn sorted(mut done: Done) -> Done {
    done.latencies.sort_by(f64::total_cmp);
    done
}

fn corpus_of(name: &str) -> io::Result<Corpus> {
    Corpus::named(name).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such corpus"))
}

/// What a burst of so many KiB is.
fn burst(kib: usize) -> Vec<u8> {
    let mut block = BURST_CORPUS.block(kib << 10);
    block.truncate(kib << 10);
    block
}

fn two(clients: &mut [Client], one: usize, other: usize) -> io::Result<(&mut Client, &mut Client)> {
    let [one, other] = clients.get_disjoint_mut([one, other]).map_err(io::Error::other)?;
    Ok((one, other))
}

/// These clients, in the order of their numbers.
fn picked<'a>(clients: &'a mut [Client], sessions: &[usize]) -> Vec<&'a mut Client> {
    let all = clients.iter_mut().enumerate();
    all.filter(|(at, _)| sessions.contains(at)).map(|(_, client)| client).collect()
}

async fn open(tls: &Connectors, door: &Door) -> io::Result<(Client, f64)> {
    let started = Instant::now();
    let client = Client::open(tls, door).await?;
    Ok((client, started.elapsed().as_secs_f64() * 1e6))
}

/// Asks for a burst and takes it, again and again: microseconds until all was there.
async fn bursts(client: &mut Client, block: &[u8], times: usize) -> io::Result<f64> {
    let started = Instant::now();
    for _ in 0..times {
        client.press(b"g").await?;
        client.take(block, block.len()).await?;
    }
    Ok(started.elapsed().as_secs_f64() * 1e6)
}

async fn bursts_in_turn(
    clients: &mut [Client],
    sessions: &[usize],
    block: &[u8],
    times: usize,
) -> io::Result<Vec<f64>> {
    let mut all = Vec::with_capacity(sessions.len());
    for session in sessions {
        all.push(bursts(&mut clients[*session], block, times).await?);
    }
    Ok(all)
}

/// Keys in each of these sessions in turn: microseconds until each echo.
async fn keys(clients: &mut [Client], sessions: &[usize], count: usize, pause: Duration) -> io::Result<Vec<f64>> {
    let (mut latencies, started) = (Vec::with_capacity(count), Instant::now());
    for session in sessions.iter().cycle().take(count) {
        if !pause.is_zero() && started.elapsed() > TYPING {
            break;
        }
        latencies.push(clients[*session].key().await?);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(latencies)
}

/// A whole session: microseconds from the connection to the echo of the first key.
async fn come_and_go(tls: &Connectors, door: &Door) -> io::Result<f64> {
    let started = Instant::now();
    let mut client = Client::open(tls, door).await?;
    client.key().await?;
    let latency = started.elapsed().as_secs_f64() * 1e6;
    client.leave().await?;
    Ok(latency)
}

/// A mixed day: the latencies of the typists' keys.
async fn spend(tls: &Connectors, clients: &mut [Client], day: &Day) -> io::Result<Vec<f64>> {
    let (list, flood) = (burst(day.list_kib), burst(day.flood_kib));
    let (list, flood) = (&list[..], &flood[..]);
    let mut typing = Vec::new();
    let mut asking = Vec::new();
    for (at, client) in clients.iter_mut().enumerate() {
        // They do not all do it at once.
        let late = Duration::from_millis(at as u64 * 37 % 200);
        if day.typists.contains(&at) {
            typing.push(async move {
                let mut latencies = Vec::new();
                tokio::time::sleep(late).await;
                let mut ticks = interval(Duration::from_millis(200));
                for _ in 0..day.seconds * 5 {
                    ticks.tick().await;
                    latencies.push(client.key().await?);
                }
                Ok::<_, io::Error>(latencies)
            });
        } else if day.flood == at {
            asking.push(ask(client, flood, day.seconds * 20, Duration::from_millis(50), late));
        } else if day.lists.contains(&at) {
            asking.push(ask(client, list, day.seconds, Duration::from_secs(1), late));
        }
    }
    let coming = async {
        let mut ticks = interval(Duration::from_secs(day.seconds) / day.doors.len().max(1) as u32);
        for door in &day.doors {
            ticks.tick().await;
            come_and_go(tls, door).await?;
        }
        Ok(())
    };
    let (latencies, _, ()) = tokio::try_join!(try_join_all(typing), try_join_all(asking), coming)?;
    Ok(latencies.concat())
}

/// Takes a burst so many times.
async fn ask(client: &mut Client, block: &[u8], times: u64, every: Duration, late: Duration) -> io::Result<()> {
    tokio::time::sleep(late).await;
    let mut ticks = interval(every);
    for _ in 0..times {
        ticks.tick().await;
        bursts(client, block, 1).await?;
    }
    Ok(())
}

async fn leave(clients: &mut Vec<Client>) {
    let mut leaving = FuturesUnordered::new();
    for mut client in clients.drain(..) {
        // Whoever is gone has been left.
        leaving.push(async move { client.leave().await.unwrap_or_default() });
        if leaving.len() >= LEAVING {
            leaving.next().await;
        }
    }
    while leaving.next().await.is_some() {}
}
