//! Reads files that others write while we read.

/// How often they are read anew because they changed while being read.
const MAX_READS: usize = 3;

/// Reads until two readings agree, so that a directory swapped between two of its files, or a pair caught between its
/// two, is not taken for something that somebody wrote. Content already `known` needs no second look.
pub(crate) fn read_settled<T, P: PartialEq>(
    read: impl Fn() -> T,
    fingerprint: impl Fn(&T) -> P,
    known: &P,
) -> (T, P) {
    let mut reading = read();
    let mut print = fingerprint(&reading);
    for _ in 1..MAX_READS {
        if print == *known {
            break;
        }
        let again = read();
        let print_again = fingerprint(&again);
        let settled = print_again == print;
        (reading, print) = (again, print_again);
        if settled {
            break;
        }
    }
    (reading, print)
}
