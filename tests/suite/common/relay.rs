//! A network that breaks: a TCP relay that cuts connections in the middle of what they carry.
//!
//! It reads nothing but the lengths of TLS records (RFC 8446, section 5.1). A record holds one write of either side,
//! so to cut inside of one is to cut inside of a WebSocket frame.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// TLS records of encrypted data.
const APPLICATION_DATA: u8 = 23;

/// How long a connection lives at most before it is cut.
const LIFE: Duration = Duration::from_millis(60);

/// One connection of so many is cut between redeeming and `ready`. More than a tenth, for cuts of those that were there
/// before count, too.
const AIMED: u64 = 8;

/// Records of data that polytty sends behind the end of the client's handshake: its tickets for a later session (RFC
/// 8446, section 4.6.1), which rustls puts into one, the 101, and the message `ready`.
const UPGRADE: u32 = 2;
const READY: u32 = 3;

/// The relay. It passes everything until it is told to cut.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    target: OnceLock<SocketAddr>,
    cuts: AtomicBool,
    closed: AtomicBool,
    inside: AtomicU32,
    upgrades: AtomicU32,
    readies: AtomicU32,
    random: AtomicU64,
    /// Connections that have come while cuts are made.
    connections: AtomicU64,
}

/// How many connections were cut.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cuts {
    /// Inside of a record.
    pub(crate) inside: u32,
    /// With the 101 on its way: the link was redeemed, and its client cannot know.
    pub(crate) upgrades: u32,
    /// With `ready` on its way.
    pub(crate) readies: u32,
}

impl Cuts {
    /// Between redeeming and `ready`.
    pub(crate) fn before_ready(self) -> u32 {
        self.upgrades + self.readies
    }

    pub(crate) fn all(self) -> u32 {
        self.inside + self.before_ready()
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy)]
enum Fate {
    /// Its first record that goes this way so long after its request is cut in two.
    Inside { up: bool, after: Duration },
    /// This record of data that polytty sends behind the handshake is lost, and all that follows.
    Lost(u32),
}

impl Relay {
    /// A relay on a port that the kernel picks; `seed` makes its choices.
    pub(crate) async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let shared = Arc::new(Shared { random: AtomicU64::new(seed | 1), ..Shared::default() });
        let relay = Self { address: listener.local_addr().unwrap(), shared: shared.clone() };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shared.closed.load(Ordering::SeqCst) {
                    tokio::spawn(carry(shared.clone(), client));
                }
            }
        });
        relay
    }

    /// Where it leads to.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.shared.target.set(target).unwrap();
    }

    /// Cuts from now on, or not any more.
    pub(crate) fn cut(&self, on: bool) {
        self.shared.cuts.store(on, Ordering::SeqCst);
    }

    /// Lets nobody in from now on, or everybody again.
    pub(crate) fn close(&self, closed: bool) {
        self.shared.closed.store(closed, Ordering::SeqCst);
    }

    /// How many connections were cut.
    pub(crate) fn count(&self) -> Cuts {
        let Shared { inside, upgrades, readies, .. } = &*self.shared;
        let [inside, upgrades, readies] = [inside, upgrades, readies].map(|count| count.load(Ordering::SeqCst));
        Cuts { inside, upgrades, readies }
    }
}

impl Shared {
    /// A number below `bound` (xorshift64*; whichever task comes first gets the next one).
    fn random(&self, bound: u64) -> u64 {
        let step = |mut x: u64| {
            x ^= x >> 12;
            x ^= x << 25;
            x ^= x >> 27;
            x
        };
        let x = self.random.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |x| Some(step(x))).unwrap();
        (step(x).wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn fate(&self) -> Fate {
        if self.cuts.load(Ordering::SeqCst) {
            let connection = self.connections.fetch_add(1, Ordering::SeqCst);
            if connection.is_multiple_of(AIMED) {
                let is_turn_of_upgrade = (connection / AIMED).is_multiple_of(2);
                return Fate::Lost(if is_turn_of_upgrade { UPGRADE } else { READY });
            }
        }
        Fate::Inside {
            up: self.random(2) == 0,
            after: Duration::from_micros(self.random(u64::try_from(LIFE.as_micros()).unwrap())),
        }
    }
}

async fn carry(shared: Arc<Shared>, client: TcpStream) {
    let Ok(server) = TcpStream::connect(shared.target.get().unwrap()).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
        // Half of the cuts are resets, half are ends.
        let reset = shared.random(2) == 0;
        SockRef::from(stream).set_linger(reset.then_some(Duration::ZERO)).unwrap();
    }
    let fate = shared.fate();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let connection = Connection {
        shared,
        fate,
        cut: CancellationToken::new(),
        requested: OnceLock::new(),
        down: AtomicU32::new(0),
        handshake: OnceLock::new(),
    };
    tokio::join!(connection.guard(true, from_client, to_server), connection.guard(false, from_server, to_client));
}

struct Connection {
    shared: Arc<Shared>,
    fate: Fate,
    cut: CancellationToken,
    /// When the client's request passed.
    requested: OnceLock<Instant>,
    /// Records of data that polytty has sent, and how many of them belong to the handshake.
    down: AtomicU32,
    handshake: OnceLock<u32>,
}

impl Connection {
    /// Carries one way until it ends or the connection is cut; then both ways end.
    async fn guard(&self, up: bool, from: OwnedReadHalf, to: OwnedWriteHalf) {
        tokio::select! {
            () = self.cut.cancelled() => {}
            // An error is an end, too.
            _ = self.carry(up, from, to) => self.cut.cancel(),
        }
    }

    async fn carry(&self, up: bool, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        let mut records = 0;
        loop {
            let record = read_record(&mut from).await?;
            let is_data = record[0] == APPLICATION_DATA;
            if up && is_data {
                records += 1;
                // The first is the end of the handshake, the second is the request.
                if records == 1 {
                    self.handshake.get_or_init(|| self.down.load(Ordering::SeqCst));
                }
                if records == 2 {
                    self.requested.get_or_init(Instant::now);
                    to.write_all(&record).await?;
                    continue;
                }
            }
            let sent = if !up && is_data { 1 + self.down.fetch_add(1, Ordering::SeqCst) } else { 0 };
            let Some(requested) = self.requested.get() else {
                to.write_all(&record).await?;
                continue;
            };
            let cuts = self.shared.cuts.load(Ordering::SeqCst);
            match self.fate {
                Fate::Lost(which) if cuts && Some(sent) == self.handshake.get().map(|before| before + which) => {
                    let count = if which == UPGRADE { &self.shared.upgrades } else { &self.shared.readies };
                    count.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                Fate::Inside { up: this_way, after } if up == this_way && cuts && requested.elapsed() >= after => {
                    let at = 1 + self.shared.random(record.len() as u64 - 1) as usize;
                    to.write_all(&record[..at]).await?;
                    self.shared.inside.fetch_add(1, Ordering::SeqCst);
                    return Ok(());
                }
                _ => to.write_all(&record).await?,
            }
        }
    }
}

async fn read_record(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    from.read_exact(&mut record).await?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    from.read_exact(&mut record[5..]).await?;
    Ok(record)
}
