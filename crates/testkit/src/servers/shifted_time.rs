//! Gives a server a time of its own, which a test can set back while it runs.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE: &str = include_str!("shifted_time.c");

/// A library to preload, and the file that it reads.
pub(crate) struct ShiftedTime {
    library: PathBuf,
    file: PathBuf,
}

impl ShiftedTime {
    /// Compiles the library into `dir`. Nothing is shifted yet.
    ///
    /// # Panics
    /// If there is no C compiler.
    pub(crate) fn new(dir: &Path) -> Self {
        let (source, library, file) = (dir.join("shifted_time.c"), dir.join("shifted_time.so"), dir.join("shifted_time"));
        fs::write(&source, SOURCE).expect("a file in the temporary directory can be written");
        fs::write(&file, 0_i64.to_ne_bytes()).expect("a file in the temporary directory can be written");
        compile(&source, &library, &["-shared", "-fPIC"]);
        Self { library, file }
    }

    /// Lets the process that `command` starts live in it.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("YHUB_TEST_TIME_SHIFT", &self.file);
    }

    /// Sets the difference to the machine's time, in milliseconds. It holds when this returns.
    pub(crate) fn set(&self, ms: i64) {
        // In place and in one piece: the process has the file mapped.
        let file = File::options().write(true).open(&self.file).expect("the file is there");
        file.write_all_at(&ms.to_ne_bytes(), 0).expect("the file can be written");
    }
}

fn compile(source: &Path, to: &Path, options: &[&str]) {
    let made = Command::new("cc").args(options).args(["-O1", "-o"]).arg(to).arg(source).output();
    let made = made.unwrap_or_else(|error| panic!("cannot start cc: {error}. Debian: apt-get install -y gcc libc6-dev"));
    assert!(made.status.success(), "cc has failed: {}", String::from_utf8_lossy(&made.stderr));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCKS: &str = r#"
        #include <stdio.h>
        #include <sys/time.h>
        #include <time.h>
        int main(void) {
          struct timespec wall, coarse, monotonic;
          struct timeval day;
          clock_gettime(CLOCK_REALTIME, &wall);
          clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
          clock_gettime(CLOCK_MONOTONIC, &monotonic);
          gettimeofday(&day, NULL);
          printf("%ld %ld %ld %ld %ld", wall.tv_sec, coarse.tv_sec, (long)day.tv_sec, (long)time(NULL), monotonic.tv_sec);
          return !(wall.tv_nsec >= 0 && wall.tv_nsec < 1000000000 && day.tv_usec >= 0 && day.tv_usec < 1000000);
        }
    "#;

    #[test]
    fn the_time_of_day_moves_and_the_monotonic_clock_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (source, program) = (dir.path().join("clocks.c"), dir.path().join("clocks"));
        fs::write(&source, CLOCKS).unwrap();
        compile(&source, &program, &[]);
        let time = ShiftedTime::new(dir.path());
        let clocks = |is_shifted: bool| -> Vec<i64> {
            let mut command = Command::new(&program);
            if is_shifted {
                time.apply(&mut command);
            }
            let said = command.output().unwrap();
            assert!(said.status.success(), "{said:?}");
            String::from_utf8(said.stdout).unwrap().split(' ').map(|clock| clock.parse().unwrap()).collect()
        };
        for shift_s in [0_i64, 100_000, -100_000] {
            // Not by whole seconds, so that fractions overflow on either side.
            time.set(shift_s * 1_000 + 700 * shift_s.signum());
            let moved: Vec<_> = clocks(true).iter().zip(clocks(false)).map(|(shifted, clock)| shifted - clock).collect();
            for (clock, moved) in moved.iter().enumerate() {
                let expected = if clock < 4 { shift_s } else { 0 };
                assert!((moved - expected).abs() < 1_000, "clock {clock} has moved by {moved} s, not by {expected} s");
            }
        }
    }

    #[test]
    fn without_its_file_nothing_runs() {
        let dir = tempfile::tempdir().unwrap();
        let time = ShiftedTime::new(dir.path());
        fs::remove_file(&time.file).unwrap();
        let mut command = Command::new("true");
        time.apply(&mut command);
        assert!(!command.status().unwrap().success());
    }
}
