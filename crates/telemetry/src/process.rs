//! What the process itself uses, as the system tells it.

use std::fs;

/// Clock ticks of `/proc` in a second: fixed in Linux's interface to programs.
const TICKS_PER_SECOND: u64 = 100;

/// What the process uses; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub descriptors: Option<u64>,
    /// Processor time, in milliseconds.
    pub cpu_millis: Option<u64>,
}

impl Usage {
    /// Asks the system about this process. Reads three small files of `/proc`.
    #[must_use]
    pub fn read() -> Self {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        Self {
            resident_bytes: text("status").and_then(|status| resident_bytes(&status)),
            descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|open| open.count() as u64),
            cpu_millis: text("stat").and_then(|stat| cpu_millis(&stat)),
        }
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// User and system time are the 14th and 15th field; the 2nd is a name that may hold blanks.
fn cpu_millis(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 1000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(cpu_millis(stat), Some(2000));
        assert_eq!(cpu_millis("7 (a"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tx\nVmRSS:\t   12 kB\nThreads:\t1\n";
        assert_eq!(resident_bytes(status), Some(12 * 1024));
    }
}
