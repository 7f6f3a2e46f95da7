//! Watchers that lie, beside one that does not, at one replica. Whatever they say: what is acknowledged, the honest one
//! refuses; every ending is answered in time; and the honest one has its lease again.
#![no_main]

use std::{collections::VecDeque, time::Duration};

use arbitrary::Arbitrary;
use feed::{
    Change, Credential, FromWatcher, Ledger, Life, Moment, Now, Position, Replica, StreamId, Tag, Target,
    Variant, Verdict, Wall, Watcher, WatcherId, What,
    replica::{self, Mode, Outcome, RequestId},
    watcher, wire,
};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use proto::feed::v1;

const LEASE: Duration = Duration::from_secs(2);
/// Streams below are the liars'.
const HONEST: u64 = 256;
/// Random, and told to nobody but replicas: no liar has it.
const HONEST_ID: WatcherId = WatcherId(u128::MAX);

#[derive(Arbitrary, Debug)]
enum Step {
    Bytes { stream: u8, bytes: Vec<u8> },
    Hello { stream: u8, watcher: u8, position: Option<At> },
    Renew { stream: u8, sequence: u64, acked: At },
    Release { stream: u8 },
    Close { stream: u8 },
    /// A token ends.
    End,
    Wait { millis: u16 },
}

/// A position, in the log or not.
#[derive(Arbitrary, Debug)]
enum At {
    Real(u8),
    MadeUp { number: u64, tag: u64 },
}

struct World {
    now: Now,
    log: Ledger,
    replica: Replica,
    honest: Watcher<()>,
    to_replica: VecDeque<replica::Event>,
    to_honest: VecDeque<watcher::Event>,
    asked: u64,
    /// Endings, by number, that were answered as holding everywhere.
    acknowledged: Vec<u64>,
    answered: u64,
}

impl World {
    fn new() -> Self {
        let now = Now {
            moment: Moment::from_origin(Duration::from_secs(1_000)),
            wall: Wall::from_unix_millis(1_800_000_000_000),
        };
        let settings =
            replica::Settings { lease: LEASE, address: "here".into(), variant: Variant::default() };
        let of_honest = watcher::Settings {
            lease: LEASE,
            remember: watcher::Remember::Everything,
            variant: Variant::default(),
        };
        let mut world = Self {
            now,
            log: Ledger::default(),
            replica: Replica::new(settings, Life(7), now),
            honest: Watcher::new(of_honest, HONEST_ID, now),
            to_replica: VecDeque::from([replica::Event::Started]),
            to_honest: VecDeque::from([watcher::Event::Started]),
            asked: 0,
            acknowledged: Vec::new(),
            answered: 0,
        };
        world.wait(LEASE);
        assert!(world.honest.permit(world.now.moment).is_some(), "without liars there is a lease");
        world
    }

    fn step(&mut self, step: Step) {
        let (stream, message) = match step {
            Step::Bytes { stream, bytes } => {
                let parsed = v1::WatchRequest::decode(&*bytes).ok().map(wire::parse_from_watcher);
                let Some(Ok(message)) = parsed else { return };
                if matches!(message, FromWatcher::Hello { watcher: HONEST_ID, .. }) {
                    return;
                }
                (stream, message)
            }
            Step::Hello { stream, watcher, position } => {
                let position = position.map(|at| self.position(at));
                (stream, FromWatcher::Hello { watcher: WatcherId(watcher.into()), position })
            }
            Step::Renew { stream, sequence, acked } => {
                (stream, FromWatcher::Renew { sequence, acked: self.position(acked) })
            }
            Step::Release { stream } => (stream, FromWatcher::Release),
            Step::Close { stream } => {
                let stream = StreamId(stream.into());
                return self.to_replica.push_back(replica::Event::StreamClosed { stream });
            }
            Step::End => {
                self.asked += 1;
                let change = Change {
                    target: Target::new(What::Token, name(self.asked)),
                    min: None,
                    except: None,
                    until: Wall::from_unix_millis(2_000_000_000_000),
                };
                let request = RequestId(self.asked);
                let event = replica::Event::End { request, changes: vec![change], mode: Mode::Everywhere };
                return self.to_replica.push_back(event);
            }
            Step::Wait { millis } => return self.wait(Duration::from_millis(millis.into())),
        };
        self.to_replica.push_back(replica::Event::Received { stream: StreamId(stream.into()), message });
    }

    fn position(&self, at: At) -> Position {
        match at {
            At::Real(number) => {
                let entries = self.log.snapshot().entries;
                entries.get(usize::from(number)).map_or(Position::START, |entry| entry.position)
            }
            At::MadeUp { number, tag } => Position { number, tag: Tag(tag) },
        }
    }

    /// Until nothing is left to be said at this moment.
    fn settle(&mut self) {
        loop {
            if let Some(event) = self.to_replica.pop_front() {
                for action in self.replica.on(event, self.now) {
                    self.of_replica(action);
                }
            } else if let Some(event) = self.to_honest.pop_front() {
                for action in self.honest.on(event, self.now) {
                    self.of_honest(action);
                }
            } else {
                return self.check();
            }
        }
    }

    fn of_replica(&mut self, action: replica::Action) {
        use replica::{Action, Event};
        match action {
            Action::CallLog { call, log_call } => {
                let reply = self.log.call(&log_call, self.now.wall);
                self.to_replica.push_back(Event::LogReplied { call, reply });
            }
            Action::Send { stream: StreamId(stream), message } if stream >= HONEST => {
                let stream = StreamId(stream - HONEST);
                self.to_honest.push_back(watcher::Event::Received { stream, message });
            }
            Action::SendEverything { stream: StreamId(stream), everything } if stream >= HONEST => {
                let stream = StreamId(stream - HONEST);
                let received = everything.map(|message| watcher::Event::Received { stream, message });
                self.to_honest.extend(received);
            }
            Action::Close { stream: StreamId(stream) } if stream >= HONEST => {
                self.to_honest.push_back(watcher::Event::StreamClosed { stream: StreamId(stream - HONEST) });
            }
            Action::Confirm { call, .. } => self.to_replica.push_back(Event::ConfirmFailed { call }),
            Action::Ended { request, outcome } => {
                self.answered += 1;
                if matches!(outcome, Outcome::Done { everywhere: true, .. }) {
                    self.acknowledged.push(request.0);
                }
            }
            _ => {}
        }
    }

    fn of_honest(&mut self, action: watcher::Action) {
        use replica::Event;
        match action {
            watcher::Action::Send { stream, message } => {
                self.to_replica.push_back(Event::Received { stream: at_replica(stream), message });
            }
            watcher::Action::Disconnect { stream } => {
                self.to_replica.push_back(Event::StreamClosed { stream: at_replica(stream) });
            }
            _ => {}
        }
    }

    fn check(&self) {
        let Some(permit) = self.honest.permit(self.now.moment) else { return };
        for number in &self.acknowledged {
            let token = Credential { token: Some(name(*number).into()), ..Credential::default() };
            assert_eq!(self.honest.judge(&permit, &token), Verdict::Ended(What::Token));
        }
    }

    fn wait(&mut self, length: Duration) {
        let end = self.now.moment + length;
        self.settle();
        loop {
            let next = self.replica.deadline().into_iter().chain([self.honest.deadline(), end]).min();
            let Some(next) = next.filter(|next| *next < end) else { break };
            self.go_on_at(next);
        }
        self.go_on_at(end);
    }

    fn go_on_at(&mut self, moment: Moment) {
        // A deadline that has passed is due now; time does not stand still.
        let passed = moment.since(self.now.moment).max(Duration::from_millis(1));
        self.now = Now { moment: self.now.moment + passed, wall: self.now.wall + passed };
        self.to_replica.push_back(replica::Event::Tick);
        self.to_honest.push_back(watcher::Event::Tick);
        self.settle();
    }
}

fn at_replica(StreamId(stream): StreamId) -> StreamId {
    StreamId(HONEST + stream)
}

fn name(number: u64) -> String {
    format!("token{number}")
}

fuzz_target!(|steps: Vec<Step>| {
    let mut world = World::new();
    for step in steps.into_iter().take(64) {
        world.step(step);
        world.settle();
        assert!(world.replica.watchers(world.now.moment).0 <= 257, "a stream each, and no more");
    }
    // Nobody is heard of any more but the honest one.
    world.wait(5 * LEASE);
    assert_eq!(world.answered, world.asked, "every ending is answered");
    assert_eq!(world.acknowledged.len() as u64, world.asked, "whatever liars say");
    assert!(world.honest.permit(world.now.moment).is_some(), "the honest one has its lease");
});
