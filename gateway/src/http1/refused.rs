//! Why a request head is refused, and how that travels through hyper to whoever answers.

use crate::problem::{Code, Problem, catalogue};

/// The method of the request that takes a refused head's place; its path is the reason.
pub const MARKER: &str = "MALFORMED";

macro_rules! reasons {
    ($($name:ident $word:literal $code:ident $detail:literal;)*) => {
        /// One way to be refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refused { $($name),* }

        impl Refused {
            pub const ALL: &[Refused] = &[$(Refused::$name),*];

            /// What hyper reads instead of the head.
            pub(super) fn request(self) -> &'static [u8] {
                match self {
                    $(Refused::$name => concat!(
                        "MALFORMED /", $word, " HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n"
                    ).as_bytes(),)*
                }
            }

            /// Of the path of a marker request.
            pub fn from_path(path: &str) -> Option<Refused> {
                match path.strip_prefix('/')? {
                    $($word => Some(Refused::$name),)*
                    _ => None,
                }
            }

            fn told(self) -> (Code, &'static str) {
                match self {
                    $(Refused::$name => (catalogue::$code, $detail),)*
                }
            }
        }
    };
}

reasons! {
    RequestLine "request-line" REQUEST_MALFORMED "The request line is not `METHOD target HTTP/1.1`.";
    Method "method" METHOD_UNSUPPORTED "The method is not one that can be proxied.";
    Target "target" REQUEST_MALFORMED "The request target has characters that a target cannot have.";
    NotAscii "not-ascii" PATH_AMBIGUOUS "The request target has bytes outside ASCII; percent-encode them.";
    Version "version" REQUEST_MALFORMED "The version is neither HTTP/1.1 nor HTTP/1.0.";
    BareLineFeed "bare-lf" REQUEST_MALFORMED "A line ends in LF without CR.";
    BareCarriageReturn "bare-cr" REQUEST_MALFORMED "A CR stands inside a line.";
    Control "control" REQUEST_MALFORMED "A control character stands inside a line.";
    Folded "folded" REQUEST_MALFORMED "A header line begins with white space.";
    FieldName "field-name" REQUEST_MALFORMED "A header line does not begin with a name and a colon.";
    TwoLengths "two-lengths" REQUEST_MALFORMED "There is more than one Content-Length.";
    Length "length" REQUEST_MALFORMED "The Content-Length is not a number.";
    Coding "coding" REQUEST_MALFORMED "The Transfer-Encoding is not exactly `chunked`.";
    LengthAndCoding "length-and-coding" REQUEST_MALFORMED "There are both a Content-Length and a Transfer-Encoding.";
    OldCoding "old-coding" REQUEST_MALFORMED "HTTP/1.0 has no Transfer-Encoding.";
    NoHost "no-host" HOST_INVALID "The Host header is missing.";
    TwoHosts "two-hosts" HOST_INVALID "There is more than one Host header.";
    Host "host" HOST_INVALID "The Host header is not a host.";
    TooLarge "too-large" HEADERS_TOO_LARGE "The request line and headers are larger than 32 KiB.";
    TooMany "too-many" HEADERS_TOO_LARGE "There are more than 100 headers.";
    TooSlow "too-slow" REQUEST_TIMEOUT "The request head did not arrive in time.";
}

impl Refused {
    pub fn problem(self) -> Problem {
        let (code, detail) = self.told();
        Problem::new(code).detail(detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_survives_the_way_through_hyper() {
        for reason in Refused::ALL {
            let text = std::str::from_utf8(reason.request()).unwrap();
            let mut words = text.split(' ');
            assert_eq!(words.next(), Some(MARKER));
            assert_eq!(Refused::from_path(words.next().unwrap()), Some(*reason));
        }
        assert_eq!(Refused::from_path("/"), None);
    }
}
