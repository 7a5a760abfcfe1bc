//! What Prometheus expects to know about any process: memory, CPU time, open files. From `/proc`; elsewhere nothing is said.

use mixer_adapter::Exposition;

/// Reads the figures and writes them.
pub(super) fn expose(page: &mut Exposition) {
    if let Some((cpu_seconds, memory_bytes)) = std::fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(figures)
    {
        page.counter(
            "process_cpu_seconds",
            "User and system CPU time",
            &[],
            cpu_seconds,
        );
        page.gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            &[],
            memory_bytes,
        );
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        page.gauge(
            "process_open_fds",
            "Open file descriptors",
            &[],
            open.count() as f64,
        );
    }
}

/// CPU seconds and resident bytes of a `stat` line, by proc(5): fields 14, 15 in ticks of 1/100 s, field 24 in pages of 4 KiB.
fn figures(stat: &str) -> Option<(f64, f64)> {
    // The second field, the program's name, may hold anything but ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(((number(14)? + number(15)?) / 100.0, number(24)? * 4096.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 99 1000000 25 18446744073709551615 1 1";
        assert_eq!(figures(line), Some((2.0, 25.0 * 4096.0)));
        assert_eq!(figures("7 (a"), None);
    }
}
