//! A neighbour by name: its replicas are what the name's addresses are, as they change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::A;
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use latchkey_chassis::grpc::client::{Channel, Resolution, Resolve, ResolveError, channel_resolving};
use latchkey_chassis::tls::Identity;
use tokio::net::UdpSocket;
use tonic::Code;

use crate::authority::Authority;
use crate::echo::{Running, SAY, life, own_address, say, start, start_with};

const LONG: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(20);

/// What a name's addresses are at the moment; `None` where nobody knows.
#[derive(Clone, Default)]
struct Addresses {
    known: Arc<Mutex<Option<Vec<IpAddr>>>>,
    /// Questions that nobody knew an answer to.
    unanswered: Arc<AtomicU32>,
}

impl Addresses {
    fn are(&self, servers: &[&Running]) {
        *self.known.lock().unwrap() = Some(servers.iter().map(|server| server.address.ip()).collect());
    }

    /// Until that has been noticed: a lookup is at most one question for each family, so with the fifth the second has
    /// failed and a third has begun.
    async fn are_unknown(&self) {
        *self.known.lock().unwrap() = None;
        let before = self.unanswered.load(Ordering::Relaxed);
        let noticed = async {
            while self.unanswered.load(Ordering::Relaxed) < before + 5 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, noticed).await.expect("it is looked up again and again");
    }

    fn now(&self) -> Option<Vec<IpAddr>> {
        let known = self.known.lock().unwrap().clone();
        self.unanswered.fetch_add(u32::from(known.is_none()), Ordering::Relaxed);
        known
    }
}

impl Resolve for Addresses {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        assert_eq!(name, "auth.test");
        Box::pin(async { self.now().ok_or_else(|| ResolveError::new("nobody knows")) })
    }
}

fn named(server: &str, port: u16, resolver: Option<Arc<dyn Resolve>>, identity: &Identity) -> Channel {
    let resolution = Resolution { resolver, every: SOON };
    let endpoint = format!("dns:{server}auth.test:{port}");
    channel_resolving(&[endpoint], identity, "auth", &life(Duration::ZERO), &resolution).unwrap()
}

/// Another server at the same port.
fn beside(server: &Running, identity: &Identity) -> Running {
    let mut address = own_address();
    address.set_port(server.address.port());
    start_with(identity, address, LONG, |_| {})
}

/// Calls, none of which fails, until `server` has (or has not) answered any of the last twenty.
async fn until_it_takes_part(server: &Running, takes_part: bool, channel: &Channel) {
    let calls = async {
        loop {
            let before = server.answered(SAY);
            for _ in 0..20 {
                say(channel).await.unwrap();
            }
            if (server.answered(SAY) > before) == takes_part {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, calls).await.expect("the answer is followed");
}

async fn follows_changes(addresses: &Addresses, one: &Running, two: &Running, channel: &Channel) {
    until_it_takes_part(one, true, channel).await;
    assert_eq!(two.answered(SAY), 0);
    addresses.are(&[one, two]);
    until_it_takes_part(two, true, channel).await;
    addresses.are(&[two]);
    until_it_takes_part(one, false, channel).await;
    addresses.are_unknown().await;
    until_it_takes_part(two, true, channel).await;
    until_it_takes_part(one, false, channel).await;
    addresses.are(&[one, two]);
    until_it_takes_part(one, true, channel).await;
}

#[tokio::test]
async fn replicas_come_and_go_with_the_addresses_of_a_name() {
    let authority = Authority::new();
    let auth = authority.identity("auth");
    let one = start(&auth);
    let two = beside(&one, &auth);
    let addresses = Addresses::default();
    addresses.are(&[&one]);
    let resolver = Some(Arc::new(addresses.clone()) as Arc<dyn Resolve>);
    let channel = named("", one.address.port(), resolver, &authority.identity("gateway"));
    follows_changes(&addresses, &one, &two, &channel).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_unavailable_at_once_and_found_later() {
    let authority = Authority::new();
    let server = start(&authority.identity("auth"));
    let addresses = Addresses::default();
    let resolver = Some(Arc::new(addresses.clone()) as Arc<dyn Resolve>);
    let channel = named("", server.address.port(), resolver, &authority.identity("gateway"));
    assert_eq!(say(&channel).await.unwrap_err().code(), Code::Unavailable);
    addresses.are(&[&server]);
    let found = async {
        while say(&channel).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, found).await.expect("found");
}

/// A DNS server that knows `auth.test`, for as long as it does.
async fn dns_server(addresses: Addresses) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let mut answer = Message::from_vec(&packet[..length]).unwrap();
            answer.metadata.message_type = MessageType::Response;
            let query = answer.queries[0].clone();
            match addresses.now() {
                Some(known) if query.name().to_string() == "auth.test." => {
                    let v4 = known.into_iter().filter_map(|address| match address {
                        IpAddr::V4(address) => Some(address),
                        IpAddr::V6(_) => None,
                    });
                    let record =
                        |address: Ipv4Addr| Record::from_rdata(query.name().clone(), 1, RData::A(A(address)));
                    if query.query_type() == RecordType::A {
                        answer.add_answers(v4.map(record));
                    }
                }
                _ => answer.metadata.response_code = ResponseCode::NXDomain,
            }
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_dns_server_that_changes_its_answers_is_followed() {
    let authority = Authority::new();
    let auth = authority.identity("auth");
    let one = start(&auth);
    let two = beside(&one, &auth);
    let addresses = Addresses::default();
    addresses.are(&[&one]);
    let server = dns_server(addresses.clone()).await;
    let gateway = authority.identity("gateway");
    let channel = named(&format!("//{server}/"), one.address.port(), None, &gateway);
    follows_changes(&addresses, &one, &two, &channel).await;
}
