//! Names of fields that the gateway itself looks at.

macro_rules! known {
    ($($variant:ident = $text:literal;)+) => {
        /// Names that the gateway itself looks at, recognised once when a field is added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Known {
            $(#[doc = concat!("`", $text, "`.")] $variant,)+
            /// Any other name.
            Other,
        }

        impl Known {
            /// The lower-case name; empty for [`Known::Other`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ Self::Other => "" }
            }

            /// The beginning of a line of that name: `name: `; empty for [`Known::Other`].
            pub(super) const fn beginning(self) -> &'static [u8] {
                match self {
                    $(Self::$variant => concat!($text, ": ").as_bytes(),)+
                    Self::Other => b"",
                }
            }

            pub(super) const ALL: &'static [Self] = &[$(Self::$variant,)+];
        }
    };
}

known! {
    Host = "host";
    Connection = "connection";
    ContentLength = "content-length";
    TransferEncoding = "transfer-encoding";
    KeepAlive = "keep-alive";
    ProxyConnection = "proxy-connection";
    ProxyAuthenticate = "proxy-authenticate";
    ProxyAuthorization = "proxy-authorization";
    Te = "te";
    Trailer = "trailer";
    Upgrade = "upgrade";
    Expect = "expect";
    Http2Settings = "http2-settings";
    Forwarded = "forwarded";
    XForwardedFor = "x-forwarded-for";
    XForwardedProto = "x-forwarded-proto";
    XForwardedHost = "x-forwarded-host";
    XForwardedPort = "x-forwarded-port";
    XForwardedPrefix = "x-forwarded-prefix";
    XRequestId = "x-request-id";
    Via = "via";
    Traceparent = "traceparent";
    ContentType = "content-type";
    Cookie = "cookie";
    Date = "date";
    Server = "server";
    MaxForwards = "max-forwards";
}

impl Known {
    /// Recognises a name, which is a token, whatever its case.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let (lower, known) = NAMES[slot(name.as_bytes())];
        if folds_to(name.as_bytes(), lower.as_bytes()) {
            known
        } else {
            Self::Other
        }
    }
}

/// Some of the known names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u32);

impl KnownSet {
    /// The set of these.
    #[must_use]
    pub const fn of(names: &[Known]) -> Self {
        let mut set = Self(0);
        let mut at = 0;
        while at < names.len() {
            set = set.with(names[at]);
            at += 1;
        }
        set
    }

    /// Whether the name is one of them.
    #[must_use]
    pub const fn has(self, known: Known) -> bool {
        self.intersects(Self(0).with(known))
    }

    /// Whether a name is in both.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn with(self, known: Known) -> Self {
        Self(self.0 | 1 << known as u32)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl From<Known> for KnownSet {
    fn from(known: Known) -> Self {
        Self(0).with(known)
    }
}

// Each name, and `Other`, has a bit of its own.
const _: () = assert!(Known::ALL.len() < 32);

/// Each name in the slot that [`slot`] finds for it: one look and one comparison tell.
static NAMES: [(&str, Known); SLOTS] = {
    let mut names = [("", Known::Other); SLOTS];
    let mut at = 0;
    while at < Known::ALL.len() {
        let known = Known::ALL[at];
        let slot = slot(known.as_str().as_bytes());
        assert!(
            names[slot].0.is_empty(),
            "two names share a slot: choose other factors"
        );
        names[slot] = (known.as_str(), known);
        at += 1;
    }
    names
};

/// Whether a token is `lower` but for its case. Among the characters of tokens, setting
/// one bit makes exactly upper-case letters into lower-case ones.
fn folds_to(token: &[u8], lower: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    if token.len() != lower.len() {
        return false;
    }
    let (words, rest) = token.as_chunks::<8>();
    let (lower_words, lower_rest) = lower.as_chunks::<8>();
    let same_word =
        |(a, b): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*a) | CASE == u64::from_le_bytes(*b);
    words.iter().zip(lower_words).all(same_word)
        && rest.iter().zip(lower_rest).all(|(a, b)| a | 0x20 == *b)
}

const SLOTS: usize = 64;

/// A perfect hash over the known names: length and three characters, case put aside.
/// The factors are found by trial; [`NAMES`] does not compile with wrong ones.
const fn slot(name: &[u8]) -> usize {
    let count = name.len();
    if count == 0 {
        return 0;
    }
    let (first, last, late) = (name[0], name[count - 1], name[count * 3 / 4]);
    let sum = count * 3
        + (first | 0x20) as usize * 5
        + (last | 0x20) as usize * 13
        + (late | 0x20) as usize;
    sum % SLOTS
}
