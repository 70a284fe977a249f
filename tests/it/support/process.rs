//! What the kernel says of a process: time, memory, descriptors.

use std::time::Duration;

/// A running process, by its number.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    #[track_caller]
    fn read(self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Processor time spent so far, in the kernel and out of it.
    #[track_caller]
    pub(crate) fn processor_time(self) -> Duration {
        let text = self.read("stat");
        // The name may hold anything; what follows its bracket is numbers. Ticks are hundredths on every Linux.
        let fields: Vec<&str> = text[text.rfind(')').unwrap()..].split(' ').collect();
        let ticks = fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory that is the process's own and not a page of a file, in bytes.
    #[track_caller]
    pub(crate) fn memory(self) -> u64 {
        let text = self.read("status");
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    #[track_caller]
    pub(crate) fn n_descriptors(self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }
}

/// How many files this test itself may open.
pub(crate) fn own_descriptor_limit() -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}
