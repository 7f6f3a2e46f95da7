//! Redis, one server a test.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::failure::of;
use crate::port::free_port;
use crate::process::{Process, folder};

/// A running server with an append-only file flushed every second, unless told otherwise.
pub struct Redis {
    process: Option<Process>,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// With settings as in `redis.conf`, one a string: `maxmemory 1mb`.
    pub fn start_with(settings: &[&str]) -> Redis {
        Redis::try_start_with(settings).unwrap_or_else(|error| does_not_start(&error))
    }

    /// As [`Redis::start`]. The error is why there is none, in the server's own words where it has said any.
    pub fn try_start() -> io::Result<Redis> {
        Redis::try_start_with(&[])
    }

    fn try_start_with(settings: &[&str]) -> io::Result<Redis> {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Redis { process: None, port: 0, settings, folder: folder()? };
        server.try_restart()?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again after a [`Redis::kill`] or [`Redis::stop`], with what its file holds.
    pub fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|error| does_not_start(&error));
    }

    fn try_restart(&mut self) -> io::Result<()> {
        assert!(self.process.is_none(), "it is running");
        let before = self.port;
        let mut said = String::new();
        for _ in 0..20 {
            if before == 0 {
                self.port = free_port();
            }
            let configuration = format!(
                "bind 127.0.0.1\nport {}\ndir {}\nappendonly yes\nappendfsync everysec\nsave \"\"\n{}\n",
                self.port,
                self.folder.path().display(),
                self.settings.join("\n"),
            );
            let file = self.folder.path().join("redis.conf");
            fs::write(&file, configuration).map_err(of(file.display()))?;
            let file = file.display().to_string();
            let mut process = Process::start(Path::new("redis-server"), &[&file], self.folder.path())?;
            // Anything but a ping's answer is a server that still loads its file, or wants a password: `-NOAUTH` is there too.
            let is_there =
                || self.command("PING").is_ok_and(|line| !line.is_empty() && !line.starts_with("-LOADING"));
            if process.wait_for(is_there)? {
                self.process = Some(process);
                return Ok(());
            }
            said = process.said();
            // Somebody's outgoing connection has its port for a moment.
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        Err(io::Error::other(said))
    }

    /// The first line of what it answers to an inline command, such as `+PONG` to `PING`.
    pub fn command(&self, command: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// As a service manager would: what is in memory is written first.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    fn end(&mut self, signal: Signal) {
        let mut process = self.process.take().expect("it is running");
        process.signal(signal);
        process.wait();
    }

    /// Stops it where it is until [`Redis::resume`].
    pub fn freeze(&self) {
        self.process.as_ref().expect("it is running").signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.process.as_ref().expect("it is running").signal(Signal::CONT);
    }
}

fn does_not_start(error: &io::Error) -> ! {
    panic!("Redis does not start (`cargo xtask setup` installs it): {error}");
}
