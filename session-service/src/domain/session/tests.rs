use std::time::Duration;

use proptest::prelude::*;
use time::macros::datetime;

use super::*;

const START: OffsetDateTime = datetime!(2026-11-01 08:00 UTC);
const LIFETIMES: Lifetimes = Lifetimes {
    idle: Duration::from_secs(30 * 60),
    absolute: Duration::from_secs(12 * 3600),
    rotation_grace: Duration::from_secs(10),
};

fn session() -> Session {
    let origin = Origin {
        subject: Subject::parse("usr_1").unwrap(),
        username: "alice".to_owned(),
        epoch: 1,
        methods: vec!["pwd".to_owned()],
        authenticated_at: START,
        user_agent: String::new(),
        client_address: String::new(),
    };
    let id = SessionId::parse("ses_0123456789abcdefghjkmnpqrs").unwrap();
    Session::begin(id, origin, START, &LIFETIMES)
}

#[test]
fn s05_idle_and_absolute_edges() {
    let second = Duration::from_secs(1);
    let millisecond = Duration::from_millis(1);
    let idle = START + LIFETIMES.idle;
    let absolute = START + LIFETIMES.absolute;
    let busy = session().active_at(absolute - second);
    for (session, now, live) in [
        (session(), START, true),
        (session(), idle - second, true),
        (session(), idle - millisecond, true),
        (session(), idle, false),
        (session(), idle + second, false),
        (busy.clone(), absolute - second, true),
        (busy.clone(), absolute - millisecond, true),
        (busy.clone(), absolute, false),
        (busy, absolute + second, false),
    ] {
        assert_eq!(session.is_live(now, &LIFETIMES), live, "{now}");
    }
}

#[test]
fn an_expiry_that_is_now_has_passed() {
    let session = session();
    assert!(!session.is_live(session.idle_expires_at(&LIFETIMES), &LIFETIMES));
}

proptest! {
    #[test]
    fn activity_never_extends_the_absolute_expiry(moments in prop::collection::vec(0_u64..100_000, 0..20)) {
        let mut session = session();
        for seconds in moments {
            session = session.active_at(START + Duration::from_secs(seconds));
            prop_assert_eq!(session.absolute_expires_at, START + LIFETIMES.absolute);
            prop_assert!(session.idle_expires_at(&LIFETIMES) <= session.absolute_expires_at);
        }
        prop_assert!(!session.is_live(START + LIFETIMES.absolute, &LIFETIMES));
    }

    #[test]
    fn activity_never_goes_back(first in 0_u64..10_000, second in 0_u64..10_000) {
        let (first, second) = (START + Duration::from_secs(first), START + Duration::from_secs(second));
        let session = session().active_at(first).active_at(second);
        prop_assert_eq!(session.last_active_at, first.max(second));
    }

    #[test]
    fn a_cut_text_is_a_start_of_it(text: String, most in 0_usize..40) {
        let cut = Origin::cut(&text, most);
        prop_assert!(text.starts_with(&cut));
        prop_assert!(cut.len() <= most);
        prop_assert!(cut.len() + 4 > most.min(text.len()));
    }
}
