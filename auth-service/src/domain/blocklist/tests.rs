use super::*;

fn judge(password: &str) -> Option<Weakness> {
    weakness(password, &["latchkey", "Alice.Wonderland"])
}

#[test]
fn p03_the_list_is_long_and_every_long_entry_is_refused() {
    assert!(entries() >= 3_000, "{}", entries());
    let long: Vec<&str> = COMMON.iter().copied().filter(|entry| entry.chars().count() >= 15).collect();
    assert!(long.len() >= 20);
    for entry in long {
        assert!(judge(entry).is_some(), "{entry}");
        assert!(judge(&entry.to_uppercase()).is_some(), "{entry} in capitals");
    }
}

#[test]
fn p03_short_entries_are_refused_however_they_are_lengthened() {
    let mut tried = 0;
    for entry in include_str!("../../../data/common-passwords.txt").lines().step_by(97) {
        let characters = entry.chars().count();
        if characters < MIN_CONTEXT {
            continue;
        }
        let repeated = entry.repeat(15_usize.div_ceil(characters));
        assert!(judge(&repeated).is_some(), "{repeated}");
        tried += 1;
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn p03_weak() {
    use Weakness::*;
    for (password, why) in [
        ("passwordpassword", Common),
        ("PasswordPassword", Common),
        ("P@ssw0rdP@ssw0rd", Common),
        ("dragonmonkey1234", Common),
        ("iloveyou-princess!", Common),
        ("123456789987654321", Common),
        ("aaaaaaaaaaaaaaaaaaaa", Repetition),
        ("xyzzyqxyzzyqxyzzyq", Repetition),
        ("abcdefghijklmnop", Sequence),
        ("qwertyuiopasdfghjkl", Sequence),
        ("0987654321poiuytrewq", Sequence),
        ("latchkeylatchkey", Context),
        ("latchkey-2026!!!", Context),
        ("alice.wonderland1", Context),
        ("alice.wonderland.alice", Context),
        ("WonderlandAlice99", Context),
    ] {
        assert_eq!(judge(password), Some(why), "{password}");
    }
}

#[test]
fn p03_known_phrases_in_every_spelling() {
    for password in [
        "correct horse battery staple",
        "correcthorsebatterystaple",
        "Correct-Horse-Battery-Staple",
        "CORRECT_HORSE_BATTERY_STAPLE",
        "correct.horse.battery.staple!",
        "correct  horse\u{a0}battery\tstaple",
        "correct/horse/battery/staple/2026",
        "c0rrect h0rse b4ttery $taple",
        "my correct horse battery staple",
        "correct horse battery staple correct horse battery staple",
        "May the Force be with you",
        "to be, or not to be, he said",
        "The quick brown fox jumps over the lazy dog.",
    ] {
        assert_eq!(judge(password), Some(Weakness::Phrase), "{password}");
    }
    let text = include_str!("../../../data/known-phrases.txt");
    assert!(text.lines().count() >= 100);
    for phrase in text.lines() {
        assert!(phrase.len() >= 12 && phrase == fold(phrase), "{phrase}: what is shorter is no phrase");
        assert!(judge(phrase).is_some(), "{phrase}");
        assert!(judge(&phrase.replace(' ', "")).is_some(), "{phrase}");
        assert!(judge(&phrase.replace(' ', "-").to_uppercase()).is_some(), "{phrase}");
    }
}

#[test]
fn p03_separators_hide_no_entry() {
    use Weakness::*;
    for (password, why) in [
        ("p-a-s-s-w-o-r-d-1-2-3", Common),
        ("d r a g o n m o n k e y", Common),
        ("i love you - princess - 12", Common),
        ("q w e r t y u i o p", Sequence),
        ("s.d.f.g.h.j.k.l.;.r.t.y.u", Sequence),
    ] {
        assert_eq!(judge(password), Some(why), "{password}");
    }
}

#[test]
fn p02_ordinary_phrases_are_not_weak() {
    for password in [
        "purple lantern under glacier",
        "wonderland is where alice went to school",
        "the cat sat near the old green door",
        "kV9#mq2Lx7!pRz4w",
        "7130582964173205",
        "übermäßig lange Straßenbahnfahrt",
        "a passphrase for testing only",
        "battery horse staple correct",
        "to be sure, nobody asked the horse about it",
        "1!)(*&^%$#@{}:<>?2",
        "violet - anchor - gravel - tundra",
    ] {
        assert_eq!(judge(password), None, "{password}");
    }
}

#[test]
fn a_long_unit_is_judged_alone() {
    assert_eq!(judge(&"violet anchor gravel tundra ".repeat(40)), None);
    assert_eq!(judge(&"dragonmonkey1234".repeat(3)), Some(Weakness::Common));
}
