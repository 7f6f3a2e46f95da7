use super::*;

const WINDOW: Window = Window { begins: 10_000_000, ends: 20_000_000, load_ends: 30_000_000 };

pub fn step(op: Op, object: &str, t_send: u64, status: Option<u16>) -> Entry {
    Entry {
        op,
        object: object.to_owned(),
        t_send,
        t_ack: status.map(|_| t_send + 1_000),
        status,
        replica: "gateway-0".to_owned(),
        client: 0,
        hung: false,
        wrong_user: false,
        double: false,
        rude: false,
        half_done: false,
    }
}

fn figures(entries: &[Entry]) -> Figures {
    judge(entries, WINDOW)
}

#[test]
fn what_was_acknowledged_and_is_absent_is_lost_once() {
    let made = step(Op::Create, "ses_1", 1, Some(200));
    let absent = step(Op::Audit, "ses_1", 25_000_000, Some(401));
    let judged = figures(&[made.clone(), absent.clone(), absent]);
    assert_eq!((judged.acked, judged.acked_lost), (1, 1));
    let there = step(Op::Audit, "ses_1", 25_000_000, Some(200));
    assert_eq!(figures(&[made.clone(), there]).acked_lost, 0);
    let unknown = step(Op::Audit, "ses_1", 25_000_000, Some(503));
    assert_eq!(figures(&[made.clone(), unknown]).acked_lost, 0, "who cannot be asked has lost nothing");
    let clear = |status| figures(&[made.clone(), step(Op::Audit, "ses_1", 25_000_000, status)]).acked_lost;
    for status in [303, 403, 404] {
        assert_eq!(clear(Some(status)), 1, "{status}");
    }
    for status in [Some(429), Some(500), Some(503), None] {
        assert_eq!(clear(status), 0, "{status:?}");
    }
}

#[test]
fn what_was_not_acknowledged_is_on_neither_side() {
    let maybe_made = step(Op::Create, "", 1, None);
    let maybe_ended = step(Op::End, "ses_1", 5_000, None);
    let made = step(Op::Create, "ses_1", 1, Some(200));
    let absent = step(Op::Audit, "ses_1", 25_000_000, Some(401));
    let there = step(Op::Audit, "ses_1", 25_000_000, Some(200));
    let judged = figures(&[maybe_made, made, maybe_ended, absent, there]);
    assert_eq!((judged.acked, judged.acked_lost, judged.revoked, judged.revived), (1, 0, 0, 0));
}

#[test]
fn what_was_ended_and_is_let_in_later_is_revived() {
    let ended = step(Op::End, "ses_1", 5_000, Some(204));
    let racing = step(Op::Ended, "ses_1", 5_500, Some(401));
    let later = step(Op::Ended, "ses_1", 7_000, Some(200));
    let judged = figures(&[ended.clone(), racing, later]);
    assert_eq!((judged.revoked, judged.revived, judged.let_in, judged.hostile), (1, 1, 1, 2));
    let audit = step(Op::Audit, "ses_1", 25_000_000, Some(200));
    assert_eq!(figures(&[ended, audit]).revived, 1);
}

#[test]
fn a_valid_user_who_is_refused_is_counted_unless_somebody_ended_it() {
    let refused = step(Op::Session, "ses_1", 5_000, Some(401));
    assert_eq!(figures(std::slice::from_ref(&refused)).false_401, 1);
    let ending = step(Op::End, "ses_1", 5_500, Some(204));
    assert_eq!(figures(&[refused.clone(), ending]).false_401, 0, "it was being ended");
    let later = step(Op::End, "ses_1", 9_000, Some(204));
    assert_eq!(figures(&[refused, later]).false_401, 1, "it was ended only after it had been refused");
    assert_eq!(figures(&[step(Op::Refresh, "family-1", 1, Some(400))]).false_401, 1);
    assert_eq!(figures(&[step(Op::End, "family-1", 1, Some(401))]).false_401, 1);
    assert_eq!(figures(&[step(Op::Session, "ses_1", 1, Some(503))]).false_401, 0);
}

#[test]
fn each_figure_that_must_be_zero_is_named_when_it_is_not() {
    assert!(Figures::default().not_zero().is_empty());
    let mut entry = step(Op::Session, "ses_1", 1, None);
    (entry.hung, entry.wrong_user, entry.double, entry.rude) = (true, true, true, true);
    entry.half_done = true;
    let hostile = step(Op::Hostile, "", 1, Some(200));
    let broken = step(Op::Session, "ses_1", 1, Some(502));
    let mut judged = figures(&[entry, hostile, broken]);
    (judged.fail_open, judged.panics) = (1, 1);
    let all =
        ["let_in", "double", "wrong_user", "fail_open", "hung", "panics", "rude", "not_503", "half_done"];
    assert_eq!(judged.not_zero(), all);
}

#[test]
fn an_answer_that_is_right_for_nobody_is_counted() {
    let of = |op, status| figures(&[step(op, "ses_1", 1, status)]).not_503;
    for status in [303, 404, 405, 409, 421, 500, 502, 504] {
        assert_eq!((of(Op::Session, Some(status)), of(Op::Hostile, Some(status))), (1, 1));
    }
    for status in [Some(200), Some(204), Some(401), Some(429), Some(503), None] {
        assert_eq!(of(Op::Session, status), 0, "{status:?}");
    }
}

#[test]
fn who_is_told_that_there_is_no_such_thing_is_not_served() {
    for status in [303, 404] {
        let mut entries = vec![step(Op::Session, "a", 10_000_000, Some(status))];
        entries.push(step(Op::End, "a", 11_000_000, Some(status)));
        entries.push(step(Op::Session, "b", 12_000_000, Some(200)));
        entries.push(step(Op::Refresh, "c", 13_000_000, Some(204)));
        entries.push(step(Op::Bearer, "", 20_000_000, Some(status)));
        let judged = figures(&entries);
        assert_eq!((judged.err_pct, judged.not_503, judged.false_401, judged.revoked), (50.0, 3, 0, 0));
        assert_eq!(judged.recover_ms, 10_000, "in no second is anybody served");
    }
}

#[test]
fn what_may_have_ended_has_ended_for_all_who_are_asked_or_for_none() {
    let made = step(Op::Create, "ses_1", 1, Some(200));
    let there = step(Op::Audit, "ses_1", 25_000_000, Some(200));
    let gone = step(Op::Audit, "ses_1", 25_100_000, Some(401));
    for end in [
        step(Op::End, "ses_1", 5_000, None),
        step(Op::End, "ses_1", 5_000, Some(503)),
        step(Op::CutOff, "ses_1", 5_000, None),
    ] {
        let of = |looks: &[&Entry]| {
            let all: Vec<_> = [&made, &end].into_iter().chain(looks.iter().copied()).cloned().collect();
            let judged = figures(&all);
            (judged.half_done, judged.acked_lost, judged.revived)
        };
        assert_eq!(of(&[&there, &gone]), (1, 0, 0));
        assert_eq!(of(&[&there, &step(Op::Audit, "ses_1", 25_100_000, Some(404))]), (1, 0, 0));
        assert_eq!((of(&[&there, &there]), of(&[&gone, &gone])), ((0, 0, 0), (0, 0, 0)));
    }
    let ended = step(Op::End, "ses_1", 5_000, Some(204));
    assert_eq!(figures(&[made, ended, there, gone]).half_done, 0, "that one is revived");
}

#[test]
fn what_was_cut_off_on_purpose_is_no_error_and_excuses_nobody_else() {
    let cut_off = step(Op::CutOff, "", 10_000_000, None);
    let call = step(Op::Bearer, "", 10_500_000, Some(401));
    let judged = figures(&[cut_off, call]);
    assert_eq!((judged.err_pct, judged.false_401, judged.acked), (0.0, 1, 0));
}

#[test]
fn a_gap_is_that_of_the_client_who_waits_longest() {
    let entries: Vec<_> = (0..200)
        .map(|at| {
            let mut entry = step(Op::Session, "a", 10_000_000 + at * 100_000, Some(200));
            entry.client = usize::try_from(at % 2).unwrap();
            // Every other one is not served for three seconds; the rest are.
            if entry.client == 1 && (20..50).contains(&at) {
                (entry.status, entry.t_ack) = (None, None);
            }
            entry
        })
        .collect();
    assert_eq!(figures(&entries).gap_ms, 3_200);
    assert_eq!(
        gap_ms(&entries, WINDOW, |op| op == Op::Bearer),
        20_000,
        "nobody of that kind was ever served"
    );
}

#[test]
fn errors_and_gaps_are_those_of_the_fault() {
    let mut entries = vec![step(Op::Session, "a", 1_000, Some(503))];
    for at in 0..100 {
        let status = if at < 25 { None } else { Some(200) };
        entries.push(step(Op::Session, "a", 10_000_000 + at * 100_000, status));
    }
    for at in 0..100 {
        let status = if at < 10 { Some(503) } else { Some(200) };
        entries.push(step(Op::Session, "a", 20_000_000 + at * 100_000, status));
    }
    let judged = figures(&entries);
    assert_eq!(judged.err_pct, 25.0);
    assert_eq!(judged.gap_ms, 2_501);
    assert_eq!(judged.recover_ms, 950);
}

#[test]
fn what_never_recovers_takes_all_the_time_there_was() {
    let entries: Vec<_> =
        (0..100).map(|at| step(Op::Session, "a", 20_000_000 + at * 100_000, Some(503))).collect();
    assert_eq!(figures(&entries).recover_ms, 10_000);
}

#[test]
fn the_99th_of_100_is_the_99th_percentile() {
    assert_eq!(p99((1..=100).collect()), 99);
    assert_eq!(p99(vec![7]), 7);
    assert_eq!(p99(vec![]), 0);
}
