//! Rules of the cores that the simulation does not judge: what they say, and when, seen from outside.

use std::time::Duration;

use latchkey_feed::{
    Change, Credential, Entry, FromWatcher, Life, LogCall, LogReply, MemberId, Moment, Now, Position,
    Replica, StreamId, Tag, Tail, Target, ToWatcher, Variant, Verdict, Wall, Watcher, WatcherId, What,
    log::{Appended, Beat, Placed, Snapshot},
    member::Member,
    replica, watcher,
};

const LEASE: Duration = Duration::from_secs(2);
const STREAM: StreamId = StreamId(7);

fn now(millis: u64) -> Now {
    Now {
        moment: Moment::from_origin(Duration::from_millis(1_000_000 + millis)),
        wall: Wall::from_unix_millis(1_800_000_000_000 + millis),
    }
}

fn entry(number: u64) -> Entry {
    let target = Target::new(What::Token, format!("token{number}"));
    let until = Wall::from_unix_millis(1_900_000_000_000);
    Entry { position: position(number), change: Change { target, min: None, except: None, until } }
}

fn position(number: u64) -> Position {
    Position { number, tag: Tag(number * 1000) }
}

fn placed(number: u64) -> Placed {
    Placed { after: None, last: position(number) }
}

fn token(number: u64) -> Credential {
    Credential { token: Some(format!("token{number}").into()), ..Credential::default() }
}

/// A watcher that has caught up to `position(1)` and sent renewal 1 at 10 ms.
fn caught_up() -> Watcher<()> {
    let settings = watcher::Settings {
        lease: LEASE,
        remember: watcher::Remember::Everything,
        variant: Variant::default(),
    };
    let mut watcher = Watcher::new(settings, WatcherId(1), now(0));
    watcher.on(watcher::Event::Started, now(0));
    for message in [ToWatcher::Reset, ToWatcher::Live([entry(1)].into()), ToWatcher::CaughtUp(position(1))] {
        hear(&mut watcher, message, now(10));
    }
    watcher
}

fn hear(watcher: &mut Watcher<()>, message: ToWatcher, now: Now) -> Vec<watcher::Action> {
    watcher.on(watcher::Event::Received { stream: StreamId(1), message }, now)
}

fn grant(log_time: Wall) -> ToWatcher {
    ToWatcher::Grant { sequence: 1, lease: LEASE, log_time }
}

#[test]
fn a_lease_counts_from_the_sending_of_the_renewal() {
    let mut watcher = caught_up();
    assert!(watcher.permit(now(11).moment).is_none());
    hear(&mut watcher, grant(now(500).wall), now(500));
    assert_eq!(watcher.lease_end(), Some(now(10).moment + LEASE));
    assert_eq!(watcher.staleness(now(510).moment), Some(Duration::from_millis(500)));
    let permit = watcher.permit(now(2009).moment).unwrap();
    assert_eq!(watcher.judge(&permit, &token(1)), Verdict::Ended(What::Token));
    assert_eq!(watcher.judge(&permit, &token(2)), Verdict::Live);
    assert!(watcher.permit(now(2010).moment).is_none());
}

#[test]
fn a_guard_that_stops_gives_its_lease_back_and_follows_nobody_again() {
    let mut watcher = caught_up();
    hear(&mut watcher, grant(now(10).wall), now(10));
    assert!(watcher.permit(now(20).moment).is_some());
    let actions = watcher.on(watcher::Event::Stop, now(20));
    let [
        watcher::Action::Send { stream, message: FromWatcher::Release },
        watcher::Action::Disconnect { stream: left },
    ] = actions.as_slice()
    else {
        panic!("{actions:?}")
    };
    assert_eq!(stream, left);
    assert!(watcher.permit(now(20).moment).is_none());
    let late = hear(&mut watcher, grant(now(30).wall), now(30));
    assert_eq!(late, Vec::new());
    assert!(watcher.permit(now(30).moment).is_none());
    assert_eq!(watcher.on(watcher::Event::Tick, now(1_000_000)), Vec::new());
}

/// What is granted to who has left already holds endings up all the same: a watcher first hears that it is followed.
#[test]
fn nothing_is_renewed_before_the_replica_has_answered() {
    let mut watcher = caught_up();
    let stream = StreamId(2);
    watcher.on(watcher::Event::StreamClosed { stream: StreamId(1) }, now(20));
    let hello = FromWatcher::Hello { watcher: WatcherId(1), position: Some(position(1)) };
    let greeting = [watcher::Action::Connect { stream }, watcher::Action::Send { stream, message: hello }];
    assert_eq!(watcher.on(watcher::Event::Tick, now(200)), greeting);
    assert_eq!(watcher.on(watcher::Event::Tick, now(700)), []);
    // Nothing was missed.
    let message = ToWatcher::Changes { previous: position(1), entries: [].into(), last: position(1) };
    let said = watcher.on(watcher::Event::Received { stream, message }, now(710));
    let renew = FromWatcher::Renew { sequence: 2, acked: position(1) };
    assert!(said.contains(&watcher::Action::Send { stream, message: renew }), "{said:?}");
}

#[test]
fn a_hello_is_answered_also_if_nothing_was_missed() {
    let mut served = Served::new(&[]);
    served.end(1, now(10));
    let missed = |said: &[replica::Action]| {
        let [replica::Action::Send { message: ToWatcher::Changes { previous, entries, last }, .. }] = said
        else {
            panic!("{said:?}")
        };
        assert_eq!(*last, Position { number: 1, tag: last.tag });
        (previous.number, entries.len())
    };
    let hello = |position| FromWatcher::Hello { watcher: WatcherId(7), position: Some(position) };
    assert_eq!(missed(&served.receive(STREAM, hello(Position::START), now(20))), (0, 1));
    let applied = served.replica.applied();
    assert_eq!(missed(&served.receive(StreamId(8), hello(applied), now(30))), (1, 0));
    // It is not to be acknowledged, and may be.
    let renew = FromWatcher::Renew { sequence: 1, acked: applied };
    assert_eq!(served.receive(StreamId(8), renew, now(40)), []);
}

#[test]
fn a_reset_forgets_no_ending() {
    let mut watcher = caught_up();
    for message in [ToWatcher::Reset, ToWatcher::Live([].into()), ToWatcher::CaughtUp(position(4))] {
        hear(&mut watcher, message, now(20));
    }
    assert_eq!(watcher.endings().judge(&token(1)), Verdict::Ended(What::Token));
    assert_eq!(watcher.position(), Some(position(4)));
}

/// Millions at once would keep everybody from looking.
#[test]
fn a_reset_is_applied_part_by_part_and_acknowledged_when_it_is_complete() {
    let mut watcher = caught_up();
    hear(&mut watcher, ToWatcher::Reset, now(20));
    let said = hear(&mut watcher, ToWatcher::Live([entry(2)].into()), now(30));
    assert_eq!(said, [watcher::Action::Applied { entries: [entry(2)].into() }], "and nothing is renewed");
    assert_eq!(watcher.endings().judge(&token(2)), Verdict::Ended(What::Token));
    assert_eq!(watcher.position(), Some(position(1)));
    let said = hear(&mut watcher, ToWatcher::CaughtUp(position(2)), now(40));
    let renewal = FromWatcher::Renew { sequence: 2, acked: position(2) };
    assert_eq!(
        said,
        [
            watcher::Action::CaughtUp { position: position(2), after_reset: true },
            watcher::Action::Send { stream: StreamId(1), message: renewal }
        ]
    );
}

#[test]
fn clocks_that_are_far_apart_give_no_lease() {
    let mut watcher = caught_up();
    let far = now(500).wall + Duration::from_secs(601);
    let actions = hear(&mut watcher, grant(far), now(500));
    assert!(actions.contains(&watcher::Action::ClocksApart(true)));
    assert!(watcher.permit(now(501).moment).is_none());
    assert_eq!(watcher.lease_end(), None);
    let actions = hear(&mut watcher, grant(now(600).wall), now(600));
    assert!(actions.contains(&watcher::Action::ClocksApart(false)));
    assert!(watcher.permit(now(601).moment).is_some());
}

#[test]
fn expiry_is_judged_by_the_later_clock() {
    let mut watcher = caught_up();
    let ahead = now(500).wall + Duration::from_secs(30);
    hear(&mut watcher, grant(ahead), now(500));
    assert_eq!(watcher.judging_time(now(700)), ahead + Duration::from_millis(200));
    // A wall clock that is set back is not followed.
    let back = Now { wall: Wall::from_unix_millis(1), ..now(800) };
    watcher.on(watcher::Event::Tick, back);
    assert!(watcher.judging_time(back) >= ahead);
}

#[test]
fn a_clock_that_was_wrong_for_certain_does_not_count_once_it_is_right() {
    let mut watcher = caught_up();
    hear(&mut watcher, grant(now(500).wall), now(500));
    let ahead = |minutes: u64, at| Now { wall: now(at).wall + Duration::from_secs(minutes * 60), ..now(at) };
    watcher.on(watcher::Event::Tick, ahead(11, 600));
    assert_eq!(watcher.judging_time(now(700)), now(700).wall);
    watcher.on(watcher::Event::Tick, ahead(9, 800));
    assert_eq!(watcher.judging_time(now(900)), ahead(9, 800).wall);
    watcher.on(watcher::Event::Tick, ahead(11, 1_000));
    assert_eq!(watcher.judging_time(now(1_100)), ahead(9, 800).wall, "what it said before still counts");
}

#[test]
fn old_answers_are_given_only_by_who_had_a_lease_and_for_so_long() {
    let stale_for = Duration::from_secs(60);
    let mut watcher = caught_up();
    assert!(!watcher.may_serve_stale(stale_for, now(20).moment));
    hear(&mut watcher, grant(now(500).wall), now(500));
    assert!(watcher.may_serve_stale(stale_for, now(62_009).moment));
    assert!(!watcher.may_serve_stale(stale_for, now(62_010).moment));
}

/// A log that answers at once, in front of one replica.
struct Served {
    replica: Replica,
    log: latchkey_feed::Ledger,
    /// By how much the log's wall clock is ahead of the replica's.
    ahead: Duration,
}

impl Served {
    fn new(watchers: &[StreamId]) -> Self {
        let settings =
            replica::Settings { lease: LEASE, address: "here".to_owned(), variant: Variant::default() };
        let replica = Replica::new(settings, Life(1), now(0));
        let mut served = Self { replica, log: latchkey_feed::Ledger::default(), ahead: Duration::ZERO };
        served.on(replica::Event::Started, now(0));
        for stream in watchers {
            let hello = FromWatcher::Hello { watcher: WatcherId(u128::from(stream.0)), position: None };
            served.receive(*stream, hello, now(1));
            served.receive(*stream, FromWatcher::Renew { sequence: 1, acked: Position::START }, now(2));
        }
        served
    }

    fn on(&mut self, event: replica::Event, now: Now) -> Vec<replica::Action> {
        let (mut events, mut said) = (vec![event], Vec::new());
        while let Some(event) = events.pop() {
            for action in self.replica.on(event, now) {
                match action {
                    replica::Action::CallLog { call, log_call } => {
                        let reply = self.log.call(&log_call, now.wall + self.ahead);
                        events.push(replica::Event::LogReplied { call, reply });
                    }
                    other => said.push(other),
                }
            }
        }
        said
    }

    /// What is said to a watcher that begins, and has nothing.
    fn begins(&mut self, stream: u64, now: Now) -> Vec<replica::Action> {
        let hello = FromWatcher::Hello { watcher: WatcherId(u128::from(stream)), position: None };
        self.receive(StreamId(stream), hello, now)
    }

    fn receive(&mut self, stream: StreamId, message: FromWatcher, now: Now) -> Vec<replica::Action> {
        self.on(replica::Event::Received { stream, message }, now)
    }

    fn tick(&mut self, now: Now) -> Vec<replica::Action> {
        self.on(replica::Event::Tick, now)
    }

    fn end(&mut self, number: u64, now: Now) -> Vec<replica::Action> {
        let request = replica::RequestId(number);
        let mode = replica::Mode::Everywhere;
        self.on(replica::Event::End { request, changes: vec![entry(number).change], mode }, now)
    }
}

fn sent(actions: &[replica::Action], wanted: impl Fn(&ToWatcher) -> bool) -> usize {
    messages(actions).iter().filter(|message| wanted(message)).count()
}

/// In the order in which they are sent.
fn messages(actions: &[replica::Action]) -> Vec<ToWatcher> {
    let each = actions.iter().flat_map(|action| match action {
        replica::Action::Send { message, .. } => vec![message.clone()],
        replica::Action::SendEverything { everything, .. } => everything.clone().collect(),
        _ => Vec::new(),
    });
    each.collect()
}

fn grants(actions: &[replica::Action]) -> usize {
    sent(actions, |message| matches!(message, ToWatcher::Grant { .. }))
}

#[test]
fn an_ending_waits_for_the_watcher_with_a_lease_and_for_nobody_else() {
    let mut served = Served::new(&[STREAM, StreamId(8)]);
    assert_eq!(grants(&served.tick(now(500))), 2);
    served.receive(StreamId(8), FromWatcher::Release, now(510));
    let said = served.end(1, now(600));
    assert!(!said.iter().any(|action| matches!(action, replica::Action::Ended { .. })));
    let acked = served.replica.applied();
    // What was never sent is not believed.
    let invented = Position { number: 1, tag: Tag(0) };
    let said = served.receive(STREAM, FromWatcher::Renew { sequence: 2, acked: invented }, now(610));
    let misconduct = replica::Misconduct::StrayAcknowledgement;
    assert_eq!(said, [replica::Action::Note { stream: STREAM, misconduct }]);
    let said = served.receive(STREAM, FromWatcher::Renew { sequence: 3, acked }, now(620));
    let outcome = replica::Outcome::Done { position: acked, everywhere: true };
    assert_eq!(said, [replica::Action::Ended { request: replica::RequestId(1), outcome }]);
}

#[test]
fn without_beats_a_replica_says_leave_and_loses_its_right() {
    let mut served = Served::new(&[STREAM]);
    served.tick(now(500));
    assert_eq!(served.replica.right(), Some(now(500).moment + LEASE));
    let mut leaves = 0;
    for millis in (750..2600).step_by(250) {
        // No answer of the log arrives any more.
        let said = served.replica.on(replica::Event::Tick, now(millis));
        leaves += sent(&said, |message| *message == ToWatcher::Leave);
        assert_eq!(leaves > 0, millis >= 1500, "{millis}");
    }
    assert_eq!(leaves, 1);
    // Nor is anybody else taken in, to be sent away at once and come back as fast.
    let hello = FromWatcher::Hello { watcher: WatcherId(8), position: None };
    let said = served.replica.on(replica::Event::Received { stream: StreamId(8), message: hello }, now(2500));
    assert_eq!(said, [replica::Action::Close { stream: StreamId(8) }]);
    let credential = token(9);
    let said =
        served.replica.on(replica::Event::Asked { request: replica::RequestId(5), credential }, now(2500));
    assert!(matches!(said.as_slice(), [replica::Action::CallLog { log_call: LogCall::Read { .. }, .. }]));
}

#[test]
fn who_holds_confirmations_up_again_and_again_gets_no_grants_for_a_minute() {
    let mut served = Served::new(&[STREAM]);
    let (mut granted, mut said) = (Vec::new(), Vec::new());
    for round in 0..40_u64 {
        let at = 500 + round * 500;
        let ticked = served.tick(now(at));
        granted.push(grants(&ticked));
        said.extend(ticked);
        said.extend(served.end(round + 1, now(at + 1)));
        // It acknowledges, but only after most of a lease, and renews all the same.
        let acked = served.replica.applied();
        let renew = |sequence, acked| FromWatcher::Renew { sequence, acked };
        served.receive(STREAM, renew(round + 2, position(0)), now(at + 2));
        served.tick(now(at + 499));
        if round % 3 == 2 {
            served.receive(STREAM, renew(round + 2, acked), now(at + 499));
        }
    }
    let first_without = granted.iter().position(|count| *count == 0).unwrap();
    assert!(granted[first_without..].iter().all(|count| *count == 0), "{granted:?}");
    assert!(first_without >= 3, "{granted:?}");
    let misconduct = replica::Misconduct::HeldBack;
    assert!(said.contains(&replica::Action::Note { stream: STREAM, misconduct }));
}

/// One that is suspended, or cut off so that nobody is told: its connection stands, and beats go on.
#[test]
fn a_watcher_that_says_nothing_more_holds_up_no_ending_once_its_lease_is_over() {
    let mut served = Served::new(&[STREAM]);
    assert_eq!(grants(&served.tick(now(500))), 1);
    for millis in [1_000, 1_500, 2_000] {
        served.tick(now(millis));
    }
    // The lease is granted for 2 s, and for 1 % more by a clock that is faster.
    assert!(!has_ended(&served.end(1, now(2_400))), "it may still answer");
    assert!(has_ended(&served.tick(now(2_530))));
    for millis in [2_600, 3_100, 3_600] {
        served.tick(now(millis));
        assert!(has_ended(&served.end(millis, now(millis + 1))), "{millis}");
    }
    // It goes on where it was, and is waited for again.
    let renew = FromWatcher::Renew { sequence: 2, acked: Position::START };
    served.receive(STREAM, renew, now(3_700));
    served.tick(now(4_100));
    assert!(!has_ended(&served.end(2, now(4_101))));
}

/// A process that opens another connection before it gives the first up has both for a moment.
#[test]
fn a_watcher_with_two_streams_holds_up_once() {
    let mut served = Served::new(&[STREAM]);
    let hello = FromWatcher::Hello { watcher: WatcherId(u128::from(STREAM.0)), position: None };
    served.receive(StreamId(9), hello, now(3));
    served.receive(StreamId(9), FromWatcher::Renew { sequence: 1, acked: Position::START }, now(4));
    let mut held_back = 0;
    for round in 0..3 {
        let at = 500 + round * 500;
        let mut said = served.tick(now(at));
        assert_eq!(grants(&said), 2, "round {round}");
        said.extend(served.end(round + 1, now(at + 1)));
        for stream in [STREAM, StreamId(9)] {
            let renew = FromWatcher::Renew { sequence: round + 2, acked: Position::START };
            said.extend(served.receive(stream, renew, now(at + 2)));
        }
        let is_held_back = |action: &&replica::Action| {
            matches!(action, replica::Action::Note { misconduct: replica::Misconduct::HeldBack, .. })
        };
        held_back += said.iter().filter(is_held_back).count();
    }
    assert_eq!(held_back, 0, "two were held up for long enough");
    let said = served.tick(now(2_010));
    assert_eq!(said.iter().filter(|action| matches!(action, replica::Action::Note { .. })).count(), 1);
}

#[test]
fn a_replica_whose_clock_is_far_from_the_log_s_knows_it() {
    let (mut served, mut at) = (Served::new(&[]), 0);
    for (ahead, is_apart) in [(0, false), (599, false), (601, true), (0, false)] {
        served.ahead = Duration::from_secs(ahead);
        at += 500;
        served.tick(now(at));
        assert_eq!(served.replica.clocks_apart(), is_apart, "{ahead}");
    }
}

fn has_ended(actions: &[replica::Action]) -> bool {
    actions.iter().any(|action| matches!(action, replica::Action::Ended { .. }))
}

#[test]
fn a_watcher_whose_connection_broke_holds_nothing_up_once_it_is_back() {
    let hello = |watcher, position| FromWatcher::Hello { watcher, position: Some(position) };
    for has_applied_it in [false, true] {
        let mut served = Served::new(&[STREAM]);
        assert_eq!(grants(&served.tick(now(500))), 1);
        served.on(replica::Event::StreamClosed { stream: STREAM }, now(510));
        assert!(!has_ended(&served.end(1, now(520))), "its lease may still be used");
        let acked = served.replica.applied();
        let said = served.receive(StreamId(8), hello(WatcherId(8), acked), now(530));
        assert!(!has_ended(&said), "another watcher says nothing about it");
        let (position, late) = if has_applied_it { (acked, false) } else { (Position::START, true) };
        let itself = WatcherId(u128::from(STREAM.0));
        let said = served.receive(StreamId(9), hello(itself, position), now(540));
        assert_eq!(has_ended(&said), !late);
        let said = served.receive(StreamId(9), FromWatcher::Renew { sequence: 2, acked }, now(550));
        assert_eq!(has_ended(&said), late);
        assert_eq!(served.replica.watchers(now(550).moment), (2, 1), "the lease is not over");
    }
}

#[test]
fn a_connection_that_broke_is_counted_against_nobody() {
    let mut served = Served::new(&[STREAM]);
    assert_eq!(grants(&served.tick(now(500))), 1);
    served.on(replica::Event::StreamClosed { stream: STREAM }, now(510));
    for number in 1..=4 {
        served.end(number, now(520));
    }
    served.tick(now(1030));
    let watcher = WatcherId(u128::from(STREAM.0));
    served.receive(StreamId(9), FromWatcher::Hello { watcher, position: None }, now(1040));
    let acked = served.replica.applied();
    served.receive(StreamId(9), FromWatcher::Renew { sequence: 2, acked }, now(1050));
    assert_eq!(grants(&served.tick(now(1600))), 1);
}

#[test]
fn what_a_replica_has_not_sent_yet_is_counted_against_no_watcher() {
    let mut served = Served::new(&[STREAM]);
    assert_eq!(grants(&served.tick(now(500))), 1);
    let asked = |number| replica::Event::ConfirmAsked {
        request: replica::RequestId(number),
        member: served.replica.member(),
        position: position(1),
        tail: Tail { after: position(1), entries: [].into() },
    };
    for event in [asked(1), asked(2), asked(3), replica::Event::Tick] {
        // The log does not answer.
        let at = if matches!(event, replica::Event::Tick) { 1030 } else { 510 };
        served.replica.on(event, now(at));
    }
    assert_eq!(grants(&served.tick(now(1600))), 1);
}

#[test]
fn a_replica_that_stops_hands_over_first() {
    let mut served = Served::new(&[STREAM]);
    served.tick(now(500));
    let said = served.on(replica::Event::Terminate, now(600));
    assert_eq!(said, [replica::Action::Send { stream: STREAM, message: ToWatcher::Leave }]);
    assert_eq!(served.log.members().len(), 1);
    let said = served.receive(STREAM, FromWatcher::Release, now(700));
    assert_eq!(said, [replica::Action::Stopped]);
    assert_eq!(served.log.members(), []);
}

/// Until its row is gone the others wait for it.
#[test]
fn a_replica_that_hands_over_still_confirms() {
    let mut served = Served::new(&[STREAM]);
    served.tick(now(500));
    served.on(replica::Event::Terminate, now(600));
    let appended = Appended { tag: Tag(5), change: entry(1).change };
    let LogReply::Appended(Placed { last, .. }) =
        served.log.call(&LogCall::Append(vec![appended]), now(605).wall)
    else {
        panic!("it is appended")
    };
    let (request, member) = (replica::RequestId(3), served.replica.member());
    let tail = Tail { after: last, entries: [].into() };
    let said = served.on(replica::Event::ConfirmAsked { request, member, position: last, tail }, now(610));
    assert_eq!(sent(&said, |message| matches!(message, ToWatcher::Changes { .. })), 1);
    let answer = replica::Action::AnswerConfirm { request, confirmed: true };
    assert!(!said.contains(&answer), "the watcher has it not yet");
    let said = served.receive(STREAM, FromWatcher::Renew { sequence: 2, acked: last }, now(620));
    assert!(said.contains(&answer), "{said:?}");
}

#[test]
fn nobody_waits_for_a_replica_that_has_removed_itself() {
    let mut served = Served::new(&[]);
    let id = MemberId { life: Life(2), registration: 1 };
    let other = Member { id, address: "there".to_owned(), lease: LEASE, fenced: false };
    served.log.call(&LogCall::Register(other), now(5).wall);
    served.tick(now(500));
    let said = served.end(1, now(600));
    let asked = said.iter().find_map(|action| match action {
        replica::Action::Confirm { call, .. } => Some(*call),
        _ => None,
    });
    assert!(!has_ended(&said));
    served.log.call(&LogCall::Remove(id), now(605).wall);
    let said = served.on(replica::Event::ConfirmFailed { call: asked.unwrap() }, now(610));
    assert!(has_ended(&said), "{said:?}");
}

fn registration(said: &[replica::Action]) -> Option<(replica::CallId, MemberId)> {
    said.iter().find_map(|action| match action {
        replica::Action::CallLog { call, log_call: LogCall::Register(member) } => Some((*call, member.id)),
        _ => None,
    })
}

/// Between two attempts the first may have been carried out, fenced, waited out and removed.
#[test]
fn a_registration_that_was_not_answered_is_made_by_another_id_and_its_row_is_removed() {
    let settings =
        replica::Settings { lease: LEASE, address: "here".to_owned(), variant: Variant::default() };
    let mut replica = Replica::new(settings, Life(1), now(0));
    let mut said = replica.on(replica::Event::Started, now(0));
    let mut tried = Vec::new();
    for second in 1..=3 {
        let (call, id) = registration(&said).unwrap();
        assert!(!tried.contains(&id), "{id} again");
        tried.push(id);
        replica.on(replica::Event::LogFailed { call }, now(second * 1000));
        said = replica.on(replica::Event::Tick, now(second * 1000 + 999));
    }
    let (call, id) = registration(&said).unwrap();
    let said = replica.on(replica::Event::LogReplied { call, reply: LogReply::Done }, now(4000));
    let is_removed = |id: &MemberId| {
        let removes = |action: &replica::Action| matches!(action, replica::Action::CallLog { log_call: LogCall::Remove(gone), .. } if gone == id);
        said.iter().any(removes)
    };
    assert!(tried.iter().all(is_removed), "{said:?}");
    assert!(!is_removed(&id));
}

#[test]
fn a_replica_that_was_fenced_comes_back_as_somebody_else() {
    let mut served = Served::new(&[]);
    let before = served.replica.member();
    served.log.fence(before);
    served.tick(now(500));
    let members: Vec<Member> = served.log.members();
    assert_ne!(served.replica.member(), before);
    assert_eq!(members.iter().filter(|member| !member.fenced).count(), 1);
    let request = replica::RequestId(1);
    let asked = replica::Event::ConfirmAsked {
        request,
        member: before,
        position: Position::START,
        tail: Tail { after: Position::START, entries: [].into() },
    };
    let said = served.on(asked, now(501));
    assert_eq!(said, [replica::Action::AnswerConfirm { request, confirmed: true }]);
}

/// A log that takes longer to read than anybody waits for: endings that wait for it meanwhile fence it, again and again.
#[test]
fn a_replica_that_was_fenced_while_it_read_the_log_does_not_read_it_again() {
    let settings =
        replica::Settings { lease: LEASE, address: "here".to_owned(), variant: Variant::default() };
    let mut replica = Replica::new(settings, Life(1), now(0));
    let begun = replica.on(replica::Event::Started, now(0));
    let called = |said: &[replica::Action], wanted: fn(&LogCall) -> bool| {
        let call = said.iter().find_map(|action| match action {
            replica::Action::CallLog { call, log_call } if wanted(log_call) => Some(*call),
            _ => None,
        });
        call.unwrap_or_else(|| panic!("{said:?}"))
    };
    let mut answered = |call, reply, at| replica.on(replica::Event::LogReplied { call, reply }, now(at));
    let register = |said: &[replica::Action]| called(said, |call| matches!(call, LogCall::Register(_)));
    let beat = |said: &[replica::Action]| called(said, |call| matches!(call, LogCall::Beat { .. }));

    let said = answered(register(&begun), LogReply::Done, 10);
    let snapshot = Snapshot { position: position(1), entries: vec![entry(1)] };
    let said = answered(
        called(&said, |call| matches!(call, LogCall::Snapshot)),
        LogReply::Snapshot(snapshot),
        20_000,
    );
    let said = answered(beat(&said), LogReply::Beat(Beat::Fenced), 20_010);
    let said = answered(register(&said), LogReply::Done, 20_020);
    let current = Beat::Current { head: position(2), entries: vec![entry(2)], time: now(20_030).wall };
    answered(beat(&said), LogReply::Beat(current), 20_030);
    assert!(replica.is_ready());
    for number in [1, 2] {
        assert_eq!(replica.memory().judge(&token(number)), Verdict::Ended(What::Token));
    }
}

#[test]
fn nothing_is_answered_for_an_append_whose_outcome_is_unknown() {
    let mut served = Served::new(&[]);
    let request = replica::RequestId(1);
    let end = |request, mode| replica::Event::End { request, changes: vec![entry(1).change], mode };
    let said = served.replica.on(end(request, replica::Mode::Everywhere), now(10));
    let [replica::Action::CallLog { call, .. }] = said.as_slice() else { panic!("{said:?}") };
    let said = served.replica.on(replica::Event::LogFailed { call: *call }, now(600));
    let outcome = replica::Outcome::NotConfirmed;
    assert!(said.contains(&replica::Action::Ended { request, outcome }));
    // Its late answer is nobody's.
    let reply = LogReply::Appended(placed(1));
    let late = served.replica.on(replica::Event::LogReplied { call: *call, reply }, now(700));
    assert!(!late.iter().any(|action| matches!(action, replica::Action::Ended { .. })));
    let request = replica::RequestId(2);
    let said = served.on(end(request, replica::Mode::Durable), now(800));
    assert!(said.iter().any(|action| matches!(
        action,
        replica::Action::Ended { outcome: replica::Outcome::Done { everywhere: false, .. }, .. }
    )));
}

#[test]
fn appends_under_way_gather_what_comes_next() {
    let mut served = Served::new(&[]);
    let mut appended = Vec::new();
    let mut calls = Vec::new();
    for number in 1..=300 {
        let request = replica::RequestId(number);
        let mode = replica::Mode::Durable;
        let event = replica::Event::End { request, changes: vec![entry(number).change], mode };
        for action in served.replica.on(event, now(10)) {
            if let replica::Action::CallLog { call, log_call: LogCall::Append(changes) } = action {
                appended.push(changes.len());
                calls.push((call, changes.len()));
            }
        }
    }
    let mut ended = 0;
    while let Some((call, count)) = calls.pop() {
        let reply = LogReply::Appended(placed(count as u64));
        for action in served.replica.on(replica::Event::LogReplied { call, reply }, now(20)) {
            match action {
                replica::Action::CallLog { call, log_call: LogCall::Append(changes) } => {
                    appended.push(changes.len());
                    calls.push((call, changes.len()));
                }
                replica::Action::Ended { .. } => ended += 1,
                _ => {}
            }
        }
    }
    assert_eq!(appended, [1, 256, 43]);
    assert_eq!(ended, 300);
}

/// As somebody does who is told all this.
fn learnt(actions: &[replica::Action]) -> (latchkey_feed::Endings, Option<Position>) {
    let (mut endings, mut position) = (latchkey_feed::Endings::default(), None);
    for message in messages(actions) {
        match message {
            ToWatcher::Live(entries) => entries.iter().for_each(|entry| endings.remember(entry)),
            ToWatcher::CaughtUp(at) => position = Some(at),
            ToWatcher::Changes { previous, entries, last } => {
                assert_eq!(position.replace(last), Some(previous));
                entries.iter().for_each(|entry| endings.remember(entry));
            }
            _ => {}
        }
    }
    (endings, position)
}

/// However much it is, it is one action, whose messages are made when they are sent. Who comes while somebody is still told is told
/// the same, and what changed since; afterwards nothing is kept.
#[test]
fn watchers_that_begin_together_are_told_out_of_one_memory() {
    let mut served = Served::new(&[]);
    for number in 1..=3_000 {
        served.end(number, now(600));
    }
    let first = served.begins(20, now(700));
    let [replica::Action::SendEverything { everything: told_first, .. }] = first.as_slice() else {
        panic!("{first:?}")
    };
    assert_eq!(sent(&first, |message| matches!(message, ToWatcher::Live(_))), 3);
    served.end(3_001, now(800));
    let second = served.begins(21, now(900));
    let [replica::Action::SendEverything { everything: told_second, .. }, replica::Action::Send { .. }] =
        second.as_slice()
    else {
        panic!("{second:?}")
    };
    assert_eq!(told_first, told_second, "it has a memory of its own");
    for (actions, last) in [(&first, 3_000), (&second, 3_001)] {
        let (endings, at) = learnt(actions);
        assert_eq!((endings.len(), at.map(|at| at.number)), (last as usize, Some(last)));
        assert_eq!(endings.judge(&token(last)), Verdict::Ended(What::Token));
        assert_eq!(endings.judge(&token(last + 1)), Verdict::Live);
    }
    drop((first, second));
    served.end(3_002, now(1_000));
    let third = served.begins(22, now(1_100));
    assert!(matches!(third.as_slice(), [replica::Action::SendEverything { .. }]), "{third:?}");
    assert_eq!(learnt(&third).0.len(), 3_002);
}

/// Its ending may have left the log before this replica began, which then knows nothing of it.
#[test]
fn what_had_expired_by_the_logs_clock_is_not_judged_by_who_has_just_begun() {
    let mut served = Served::new(&[]);
    served.tick(now(500));
    let expired = Credential { expired_from: Some(now(0).wall), ..token(1) };
    assert_eq!(served.replica.memory().judge(&expired), Verdict::Forgotten);
    let lives = Credential { expired_from: Some(now(60_000).wall), ..token(1) };
    assert_eq!(served.replica.memory().judge(&lives), Verdict::Live);
}

/// Of one who reads nothing more: what changed since is not gathered for ever.
#[test]
fn a_memory_that_is_too_old_is_told_to_nobody_else() {
    let mut served = Served::new(&[]);
    let first = served.begins(20, now(600));
    for batch in 0..70 {
        let changes = (1..=250).map(|number| entry(batch * 250 + number).change).collect();
        let request = replica::RequestId(batch);
        served.on(replica::Event::End { request, changes, mode: replica::Mode::Everywhere }, now(700));
    }
    let second = served.begins(21, now(800));
    let [replica::Action::SendEverything { everything: told_second, .. }] = second.as_slice() else {
        panic!("{second:?}")
    };
    assert!(!first.iter().any(
        |action| matches!(action, replica::Action::SendEverything { everything, .. } if everything == told_second)
    ));
    assert_eq!(learnt(&second).0.len(), 17_500);
}

#[test]
fn another_history_resets_every_watcher_and_takes_the_right() {
    let mut served = Served::new(&[STREAM]);
    served.end(1, now(100));
    served.tick(now(500));
    // The log lost its entry and was filled again: the number is there, the tag is not.
    let mut other = latchkey_feed::Ledger::default();
    other.register(&served.log.members()[0]);
    other.append(&[latchkey_feed::log::Appended { tag: Tag(77), change: entry(2).change }]);
    served.log = other;
    let said = served.tick(now(1000));
    assert_eq!(sent(&said, |message| *message == ToWatcher::Reset), 1);
    assert_eq!(served.replica.applied(), Position { number: 1, tag: Tag(77) });
    for number in [1, 2] {
        assert_eq!(served.replica.memory().judge(&token(number)), Verdict::Ended(What::Token));
    }
    assert!(matches!(served.log.snapshot(), Snapshot { entries, .. } if entries.len() == 1));
    assert!(matches!(served.log.beat(served.replica.member(), position(1), now(1001).wall), Beat::Diverged));
}
