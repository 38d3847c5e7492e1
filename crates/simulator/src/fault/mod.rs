//! The faults that a simulator commits on demand.

mod argument;
pub(crate) mod line;
mod switch;
mod text;

use std::num::NonZeroUsize;

use anyhow::bail;
use argument::Argument;

pub use line::Description;
pub use switch::FaultSwitch;

/// Where in a terminal's life a [`Fault`] strikes. One call or connection meets at most one fault per stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In place of the answer to an API call.
    Api,
    /// In the link that an otherwise good answer carries.
    Link,
    /// In the answer to the WebSocket upgrade.
    Upgrade,
    /// Within the terminal session, or the connection that several of them share.
    Session,
    /// In a call of a provider that takes them over more than one transport, whichever it came over.
    Call,
    /// In the life of one of the terminals that share a connection.
    Terminal,
    /// When a token of the data plane is looked at.
    Token,
    /// In the call that creates a terminal on a shared connection.
    Create,
    /// In the call that deletes one.
    Delete,
}

/// Defines [`Fault`]. An entry is a variant with its fields and their defaults, then its stage and its name. The fields
/// are, in their order and with `@` between them, the argument behind `NAME=`.
macro_rules! faults {
    (
        $(#[$about:meta])*
        enum Fault {
            $(
                $(#[$variant_about:meta])*
                $variant:ident
                $({ $( $(#[$field_about:meta])* $field:ident: $type:ty = $default:expr ),+ $(,)? })?
                => $stage:ident $name:literal,
            )+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(
                $(#[$variant_about])*
                $variant $({ $( $(#[$field_about])* $field: $type ),+ })?,
            )+
        }

        impl Fault {
            /// Where it strikes.
            #[must_use]
            pub fn stage(&self) -> Stage {
                match self {
                    $( Self::$variant { .. } => Stage::$stage, )+
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $name, )+
                }
            }

            /// The fields' names and values.
            fn fields(&self) -> Vec<(&'static str, String)> {
                match self {
                    $( Self::$variant $({ $( $field ),+ })? => vec![ $( $( (stringify!($field), $field.to_string()) ),+ )? ], )+
                }
            }

            fn build(name: &str, argument: &mut Argument<'_>) -> anyhow::Result<Self> {
                Ok(match name {
                    $( $name => Self::$variant $({ $( $field: argument.next($default)? ),+ })?, )+
                    _ => bail!("no such fault"),
                })
            }
        }
    };
}

faults! {
    /// Something that a provider can do wrong. Parsed from `NAME` or `NAME=ARGUMENT`; the table `FAULTS` of a kind lists
    /// the names that it knows.
    ///
    /// Where a variant has an `after`, it is the number of bytes of terminal output that are delivered untouched first.
    enum Fault {
        // What kinds have in common.

        /// 503 `ServiceUnavailable`, or what the provider says in its place.
        ApiUnavailable => Api "api-unavailable",
        /// 404, in the provider's words.
        ApiNotFound => Api "api-not-found",
        /// 400, in the provider's words.
        ApiBadRequest => Api "api-bad-request",
        /// 200 with a body that is no JSON.
        ApiNotJson => Api "api-not-json",
        /// 200 without the link, token or id that the call is for.
        ApiNoUrl => Api "api-no-url",
        /// 302 to another path of the same server, where a plausible answer awaits whoever follows.
        ApiRedirect => Api "api-redirect",
        /// 200 with a body that never ends.
        ApiEndless => Api "api-endless",
        /// No answer at all; the connection stays open.
        ApiStalled => Api "api-stalled",
        /// The connection is reset in place of an answer.
        ApiReset => Api "api-reset",
        /// The link leads to another host.
        LinkForeignHost {
            /// The authority to put into the link. The default resolves nowhere (RFC 2606 §2).
            host: String = String::from("terminal.invalid"),
        } => Link "link-foreign-host",
        /// The link has another scheme than `ws`.
        LinkWrongScheme {
            /// The scheme to put into the link.
            scheme: String = String::from("http"),
        } => Link "link-wrong-scheme",
        /// The upgrade is refused with this HTTP status. The link is not spent. It is spelt `upgrade-403`, with the
        /// status in its name.
        UpgradeRefused {
            /// The HTTP status.
            status: u16 = 503,
        } => Upgrade "upgrade",
        /// 200 in place of 101, with every other header of a good handshake; the session runs on.
        Upgrade200 => Upgrade "upgrade-200",
        /// 101 with the `Sec-WebSocket-Accept` of another key; the session runs on.
        UpgradeWrongAccept => Upgrade "upgrade-wrong-accept",
        /// 101 without an `Upgrade` header; the session runs on.
        UpgradeNoHeader => Upgrade "upgrade-no-header",
        /// 101 with an extension that was not asked for; the session runs on.
        UpgradeExtension => Upgrade "upgrade-extension",
        /// 101 with a subprotocol that was not asked for; the session runs on.
        UpgradeSubprotocol => Upgrade "upgrade-subprotocol",
        /// The 101 never comes; the connection stays open.
        UpgradeStalled => Upgrade "upgrade-stalled",
        /// The first message travels in the same TCP segment as the 101. This is legal, and often got wrong.
        UpgradeEarlyFrame => Upgrade "upgrade-early-frame",
        /// The connection is reset.
        Reset {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "reset",
        /// The connection is ended by a TCP FIN without a WebSocket Close.
        Fin {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "fin",
        /// A WebSocket Close with this code.
        Close {
            /// The close code.
            code: u16 = 1011,
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "close",
        /// Neither reads, nor output, nor pongs any more; the connection stays open.
        Stall {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "stall",
        /// Every message is cut into frames of `size` bytes and those into TCP segments of a few bytes. This is legal.
        Fragments {
            /// Payload bytes per frame.
            size: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2),
        } => Session "fragments",
        /// One message that nobody can parse as what the kind's wire demands; the session goes on.
        Garbage {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "garbage",
        /// One message with an operation that no document names; the session goes on.
        UnknownOperation {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "unknown-operation",
        /// One binary message where the kind's wire is text; the session goes on.
        Binary {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "binary",
        /// One text message where the kind's wire is binary; the session goes on.
        Text {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "text",
        /// One frame with all reserved bits set; the session goes on.
        ReservedBits {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "reserved-bits",
        /// One masked frame, which a server must not send; the session goes on.
        Masked {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "masked",
        /// One message in one frame of `size` bytes, well-formed but for its size; the session goes on.
        Oversize {
            /// Payload bytes of the frame. The default is one more than 16 MiB, the usual limit of WebSocket libraries.
            size: u64 = 16 * 1024 * 1024 + 1,
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "oversize",

        // What both Alibaba kinds have.

        /// 403 `Forbidden.RAM`, or what the provider says in its place.
        ApiForbidden => Api "api-forbidden",
        /// 400 `Throttling.User` with `x-acs-retry-after` in milliseconds.
        ApiThrottled {
            /// Milliseconds, as the header has them.
            retry_after_ms: u64 = 2_000,
        } => Api "api-throttled",
        /// 400 `SignatureDoesNotMatch`.
        ApiSignature => Api "api-signature",
        /// 400 `InvalidTimeStamp.Expired`.
        ApiStaleClock => Api "api-stale-clock",
        /// 403 `InvalidSecurityToken.Expired`.
        ApiTokenExpired => Api "api-token-expired",

        // ECI's own.

        /// 400 `IncorrectStatus`.
        ApiIncorrectStatus => Api "api-incorrect-status",
        /// 400 `InvalidParameter.ValueExceeded`.
        ApiValueExceeded => Api "api-value-exceeded",
        /// 101 with `v4.channel.k8s.io` if it was offered, and a `Status` on channel 3 at the end. This is legal.
        UpgradeV4 => Upgrade "upgrade-v4",
        /// A reason on channel 3, then a Close with code 1000, while the command still runs.
        ExecError {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "exec-error",
        /// Channel 3 stays silent whatever happens.
        ErrorsSilent => Session "errors-silent",
        /// Output in text messages without a channel byte.
        TextOutput => Session "text-output",
        /// Sizes are ignored.
        ResizeUnsupported => Session "resize-unsupported",
        /// Sizes are taken on channel 3.
        ResizeOn3 => Session "resize-on-3",

        // What Decthings has.

        /// The next call that may fail so is refused with this code, be it documented or not.
        RpcError {
            /// The error code.
            code: String = String::from("unknown"),
            /// The method that is to be refused; `any` for every one that the reference lists the code for.
            method: String = String::from("any"),
        } => Call "rpc-error",
        /// A launch is never answered, and launches nothing.
        LaunchStalled => Call "launch-stalled",
        /// A launch is never answered, and yet its session runs.
        LaunchUnanswered => Call "launch-unanswered",
        /// The first output comes before the reply to its launch. No document forbids it.
        LaunchEventsFirst => Call "launch-events-first",
        /// The reply comes behind the next one on its connection, or after 250 ms. This is legal.
        ReplyLate => Call "reply-late",
        /// Before the reply comes another one, to a call that was never made.
        ReplyUnknownId => Call "reply-unknown-id",
        /// The reply has both `result` and `error`.
        ReplyTwoKeys => Call "reply-two-keys",
        /// The reply's JSON is none.
        ReplyNotJson => Call "reply-not-json",
        /// The reply ends in the middle of its JSON.
        ReplyTruncated => Call "reply-truncated",
        /// The reply claims another length of its JSON.
        ReplyHostileLength {
            /// The length that it claims.
            length: u64 = 1 << 63,
        } => Call "reply-hostile-length",
        /// One event comes from an api that no document names; the connection goes on.
        EventUnknownApi {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "event-unknown-api",
        /// One `data` event is for a terminal that does not exist; the connection goes on.
        EventUnknownTerminal {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "event-unknown-terminal",
        /// One `data` event has no blob; the connection goes on.
        EventNoBlob {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "event-no-blob",
        /// One event ends in the middle of its JSON; the connection goes on.
        EventTruncated {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "event-truncated",
        /// One event claims another length of its blob; the connection goes on.
        EventHostileLength {
            /// The length that it claims.
            length: u64 = 1 << 63,
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "event-hostile-length",
        /// One `data` event has its lengths in nine bytes each. This is legal.
        EventLongLengths {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "event-long-lengths",
        /// One `data` event comes in a text message, as soon as the output is text. This is legal.
        EventAsText {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "event-as-text",
        /// A terminal ends for a reason of the provider's.
        Exit {
            /// The reason's code; `oom`, `no-code`, or the name of a signal.
            reason: String = String::from("launcher_terminated"),
            /// Bytes of this terminal's output before it.
            after: u64 = 0,
        } => Terminal "exit",

        // What Dockhand has.

        /// 401 `Unauthorized`.
        ApiUnauthorized => Api "api-unauthorized",
        /// 429 `Too many login attempts`.
        ApiLocked {
            /// Seconds to wait, as the message has them.
            seconds: u64 = 900,
        } => Api "api-locked",
        /// Every login session ends at an upgrade, which is then judged without them.
        UpgradeLoggedOut => Upgrade "upgrade-logged-out",
        /// The connection ends with no HTTP answer.
        UpgradeDropped => Upgrade "upgrade-dropped",
        /// An `error` in place of a terminal: `No such container`.
        NoSuchContainer => Session "no-such-container",
        /// An `error` in place of a terminal: `Docker socket not accessible`.
        DockerDown => Session "docker-down",
        /// An `error` in place of a terminal, and a Close 1008: `Access denied for this environment`.
        EnvironmentDenied => Session "environment-denied",
        /// A Close 1011 with no `error`.
        InternalError => Session "internal-error",
        /// The process is never created. Messages are dropped, and pings answered.
        CreateStalled => Session "create-stalled",
        /// Docker refuses to start the created process: its JSON is the only output, and the session stays open.
        StartRefused => Session "start-refused",
        /// The shell is not there: Docker's words are the output, and then the session ends.
        BadShell => Session "bad-shell",
        /// Lines of nothing but hexadecimal digits are missing from the output.
        HexLinesLost => Session "hex-lines-lost",
        /// The stream to Docker breaks: `error`, `exit`, and the Close.
        DockerLost {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "docker-lost",
        /// The agent is lost: no output, no `exit`, no Close; pings are answered.
        AgentLost {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "agent-lost",
        /// The server's process ends, and with it every session by a reset; it is started again at once.
        ProcessGone {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "process-gone",

        // What Oblien has.

        /// 429 `rate_limited`.
        ApiRateLimited => Api "api-rate-limited",
        /// The answer that should carry a workspace's token carries none.
        TokenMissing => Link "token-missing",
        /// The workspace's token has expired already when it is given out.
        TokenExpired => Link "token-expired",
        /// From now on every token of the workspace is refused with 401, until a new one is made.
        TokensRevoked => Token "tokens-revoked",
        /// No terminal is created: 500 `pty_failed`.
        CreateFailed => Create "create-failed",
        /// No terminal is created, as if the workspace had all that it may have.
        CreateLimit => Create "create-limit",
        /// No terminal is created: 502 of the gateway.
        CreateUnavailable => Create "create-unavailable",
        /// No terminal is created, which only the body of a 200 tells.
        CreateUnsuccessful => Create "create-unsuccessful",
        /// No terminal is created: 200 with a body that is no JSON.
        CreateNotJson => Create "create-not-json",
        /// The terminal is created, and the call is never answered.
        CreateUnanswered => Create "create-unanswered",
        /// The terminal is created, and the connection is reset in place of an answer.
        CreateReset => Create "create-reset",
        /// The terminal is created, and the answer does not tell its id.
        CreateNoId => Create "create-no-id",
        /// The terminal is created, and the answer names an id that is no number.
        CreateWordId => Create "create-word-id",
        /// The answer comes behind the terminal's first output, at most 5 s late. This is legal.
        CreateLate => Create "create-late",
        /// The id deleted last is given again, behind output of its last owner.
        CreateStale => Create "create-stale",
        /// The terminal lives on: 500 `internal_error`.
        DeleteFailed => Delete "delete-failed",
        /// The terminal lives on, and the call is never answered.
        DeleteUnanswered => Delete "delete-unanswered",
        /// The connection ends as if another one had taken its place.
        Evict {
            /// How many connections in a row end so.
            times: u32 = 1,
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "evict",
        /// The workspace's runtime server is switched off, and everything ends.
        Disabled {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "disabled",
        /// The process of the terminal that spoke last is killed.
        TerminalDies {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "terminal-dies",
        /// Exits are told without their codes.
        ExitNoCode => Session "exit-no-code",
        /// Text messages of channels, types and ids that nobody knows; the connection goes on.
        UnknownChannel {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "unknown-channel",
        /// Output of terminals that do not exist; the connection goes on.
        UnknownTerminal {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "unknown-terminal",
        /// Messages of the watcher channel, for a client without a watcher. This is legal.
        Watcher {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "watcher",
        /// Binary messages of no byte and of an id alone. This is legal.
        ShortFrames {
            /// Output bytes before it.
            after: u64 = 0,
        } => Session "short-frames",
    }
}

impl Fault {
    /// The output bytes to deliver before this fault strikes, if it is one that strikes once within a session.
    pub(crate) fn after(&self) -> Option<u64> {
        self.fields().iter().find(|(name, _)| *name == "after").and_then(|(_, value)| value.parse().ok())
    }
}
