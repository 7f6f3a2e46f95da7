use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;

use super::*;

/// A process that uses all the CPU it is given. Killed when dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }

    fn groups(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cgroup", self.0.id())).unwrap()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn stack(pids: &[(&str, u32)]) -> StackFile {
    let pids: serde_json::Map<_, _> =
        pids.iter().map(|(name, pid)| ((*name).to_owned(), json!(pid))).collect();
    serde_json::from_value(json!({
        "gateways": [], "internal": [], "services": {}, "operations": {}, "pids": pids, "echo": [],
        "admin": { "username": "admin", "password_file": "" },
    }))
    .unwrap()
}

fn group(quota: &Quota, name: &str) -> PathBuf {
    quota.limiting.home.join(format!("latchkey-demo-{}-{name}", std::process::id()))
}

/// Quota and period, in microseconds.
fn limit(quota: &Quota, name: &str) -> String {
    let group = group(quota, name);
    match quota.limiting.is_v2() {
        true => read(&group, "cpu.max"),
        false => format!("{} {}", read(&group, "cpu.cfs_quota_us"), read(&group, "cpu.cfs_period_us")),
    }
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap().trim().to_owned()
}

/// Whether groups can be made, found out without what is tested.
fn is_writable() -> bool {
    let root = Path::new("/sys/fs/cgroup");
    let probe = |home: PathBuf| {
        let group = home.join(format!("latchkey-probe-{}", std::process::id()));
        fs::create_dir(&group).and_then(|()| fs::remove_dir(group)).is_ok()
    };
    match fs::read_to_string(root.join("cgroup.subtree_control")) {
        Ok(controllers) => controllers.split_whitespace().any(|name| name == "cpu") && probe(root.to_owned()),
        Err(_) => probe(root.join("cpu")) && probe(root.join("cpuacct")),
    }
}

#[test]
fn a_process_is_held_to_its_part_of_a_core_and_then_set_free() {
    let quota = match Quota::open(0.1) {
        Ok(quota) => quota,
        Err(why) => {
            assert!(!is_writable(), "refused without a reason: {why:#}");
            return assert!(why.to_string().starts_with("--cpu: "), "{why:#}");
        }
    };
    assert!(is_writable(), "it must be refused");
    let (ours, application) = (Busy::start(), Busy::start());
    let (groups, groups_of_application) = (ours.groups(), application.groups());
    let starting = quota.one_core(ours.0.id()).unwrap();
    assert_eq!(limit(&quota, &format!("start-{}", ours.0.id())), "20000 20000");
    drop(starting);
    assert_eq!(ours.groups(), groups, "it is back where it was");

    let held = quota.hold(&stack(&[("auth-0", ours.0.id()), ("echo-0", application.0.id())])).unwrap();

    let name = format!("auth-0-{}", ours.0.id());
    let group = group(&quota, &name);
    assert_eq!(limit(&quota, &name), "2000 20000");
    assert_eq!(read(&group, "cgroup.procs"), ours.0.id().to_string());
    assert_eq!(application.groups(), groups_of_application, "an application is not limited");
    // The kernel does what was written: it makes who wants all of a core wait.
    let counted = || held.counted().unwrap()["auth-0"];
    for _ in (0..3_000).take_while(|_| counted().throttled.is_zero()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let Counted { used, throttled } = counted();
    assert!(!throttled.is_zero(), "it was never made to wait");
    assert!(!used.is_zero(), "and what it used is counted");
    assert_eq!(held.counted().unwrap().len(), 1, "an application is not counted");

    // Stacks run side by side, and each has one of that name.
    let another = quota.hold(&stack(&[("auth-0", application.0.id())])).unwrap();
    assert_ne!(application.groups(), groups_of_application);
    drop(another);

    drop(held);
    assert!(!group.exists());
    assert_eq!(ours.groups(), groups, "it is back where it was");
}

/// What is written is the same where the files are only files.
#[test]
fn version_2_is_told_quota_and_period_in_one_file() {
    let root = tempfile::tempdir().unwrap();
    let limiting = Hierarchy::version_2(root.path().to_owned());
    let quota = Quota { limiting, counting: None, cores: 0.25 };
    let held = quota.hold(&stack(&[("auth-0", 4_000_000_000)])).unwrap();
    let group = group(&quota, "auth-0-4000000000");
    assert_eq!(limit(&quota, "auth-0-4000000000"), "5000 20000");
    assert_eq!(read(&group, "cgroup.procs"), "4000000000");
    assert!(held.counted().is_err(), "nothing was counted yet");
    fs::write(group.join("cpu.stat"), "usage_usec 1500\nuser_usec 9\nthrottled_usec 20\n").unwrap();
    let counted = Counted { used: Duration::from_micros(1_500), throttled: Duration::from_micros(20) };
    assert_eq!(held.counted().unwrap()["auth-0"], counted);
    drop(held);
    assert_eq!(read(root.path(), "cgroup.procs"), "4000000000", "back where it was");
}

#[test]
fn why_nothing_can_be_limited_is_told() {
    type Lay = fn(&Path);
    let machines: [(Lay, &str); 5] = [
        (|_| {}, "--cpu: no control group on this machine has the CPU controller"),
        (
            |root| fs::write(root.join("cgroup.controllers"), "cpu io memory").unwrap(),
            "--cpu: the groups of this machine are not given the CPU controller: write +cpu to ",
        ),
        (
            |root| {
                fs::write(root.join("cgroup.subtree_control"), "cpu io").unwrap();
                let taken = format!("latchkey-demo-{}-trial", std::process::id());
                fs::write(root.join(taken), "").unwrap();
            },
            "--cpu: control groups cannot be written here",
        ),
        (
            |root| {
                fs::create_dir(root.join("cpu")).unwrap();
                fs::write(root.join("cpu/cgroup.procs"), "").unwrap();
            },
            "--cpu: no control group on this machine counts CPU time",
        ),
        // Plain files stay where they are: no group can be removed.
        (
            |root| {
                fs::create_dir(root.join("cpu")).unwrap();
                fs::write(root.join("cpu/cgroup.procs"), "").unwrap();
                fs::write(root.join("cpu/cpuacct.usage"), "0").unwrap();
            },
            "--cpu: control groups cannot be removed here",
        ),
    ];
    for (lay, said) in machines {
        let root = tempfile::tempdir().unwrap();
        lay(root.path());
        let Err(why) = Quota::open_at(root.path(), 0.1) else { panic!("opened: {said}") };
        assert!(why.to_string().starts_with(said), "{why:#}");
    }
}
