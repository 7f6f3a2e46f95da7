//! What is known of a caller before anybody believes anything: the number given to its request, where it comes
//! from and under which name it called. The gateway's own endpoints find it in the request's extensions.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::origin::Origin;

/// The gateway's own number for a request: 32 hexadecimal digits, unique over processes and restarts.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// `process` is random for each worker, `count` goes up with each request.
    pub fn new(process: u64, count: u64) -> Self {
        let number = (u128::from(process) << 64) | u128::from(count);
        let mut text = [b'0'; 32];
        for (two, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
            *two = [digit(byte >> 4), digit(byte & 0xf)];
        }
        // Of an owner, so that the copies for the application and for the client allocate nothing.
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        Self(value.unwrap_or(HeaderValue::from_static("")))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Travels with a request to the gateway's own endpoints.
#[derive(Clone, Debug)]
pub struct Caller {
    pub request_id: RequestId,
    /// As believed by the rules of `trusted_proxies`.
    pub address: IpAddr,
    /// Under which scheme, host and port the caller reached us; None where the host made no sense.
    pub reached: Option<Arc<Origin>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        assert_eq!(RequestId::new(0xdead_beef, 0x2a).as_str(), "00000000deadbeef000000000000002a");
        assert_eq!(RequestId::new(u64::MAX, u64::MAX).as_str(), "f".repeat(32));
    }
}
