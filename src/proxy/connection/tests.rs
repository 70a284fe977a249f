//! How long each phase may last, and what becomes of a connection then.

use super::*;

#[track_caller]
fn check(phase: Phase, seconds: f64, expected: Order) {
    let state = ConnectionState::new(0);
    state.enter(phase, 100);
    let _ = state.sweep(100 + (seconds * f64::from(PER_SECOND)) as Tick);
    assert_eq!(state.order.load(Ordering::Relaxed), expected as u8, "{phase:?} for {seconds} s");
}

#[test]
fn slow_heads_and_stalled_bodies_are_cut_and_quiet_connections_closed() {
    check(Phase::ReadingHead, 9.5, Order::Carry);
    check(Phase::ReadingHead, 10.0, Order::Cut);
    check(Phase::Client, 29.5, Order::Carry);
    check(Phase::Client, 30.0, Order::Cut);
    check(Phase::Idle, 74.5, Order::Carry);
    check(Phase::Idle, 75.0, Order::Finish);
    check(Phase::Idle, 85.0, Order::Cut);
    check(Phase::Application, 1e6, Order::Carry);
    check(Phase::Lingering, 29.5, Order::Carry);
    check(Phase::Lingering, 30.0, Order::Cut);
    check(Phase::Tunnel, 1e6, Order::Carry);
}

#[test]
fn a_connection_that_never_sends_is_a_slow_sender() {
    let state = ConnectionState::new(5);
    assert_eq!(state.sweep(5 + HEAD_LIMIT), Some(Refusal::SlowHead));
    assert_eq!(state.order.load(Ordering::Relaxed), Order::Cut as u8);
    assert_eq!(state.sweep(6 + HEAD_LIMIT), None, "it is counted once");
}

#[test]
fn a_client_that_stops_within_its_body_is_told_before_it_is_cut() {
    let tick = Arc::new(AtomicU32::new(0));
    let progress = Progress::new(Arc::new(ConnectionState::new(0)), tick);
    let order = || progress.state.order.load(Ordering::Relaxed);
    progress.begin();
    progress.uploads(true, false);
    assert_eq!(progress.state.sweep(STALL_LIMIT - 1), None);
    assert_eq!(progress.state.sweep(STALL_LIMIT), Some(Refusal::Stalled));
    assert_eq!((progress.unsaid(), order()), (Some(Unsaid::Stalled), Order::Carry as u8));
    assert_eq!(progress.state.sweep(STALL_LIMIT + 1), None, "it is counted once");
    assert_eq!(order(), Order::Cut as u8);
}

#[test]
fn after_its_answer_a_request_is_its_clients_until_its_body_ends() {
    let tick = Arc::new(AtomicU32::new(0));
    let progress = Progress::new(Arc::new(ConnectionState::new(0)), Arc::clone(&tick));
    let phase = || progress.state.phase.load(Ordering::Relaxed);
    progress.begin();
    progress.uploads(false, false);
    assert_eq!(phase(), Phase::Application as u8);
    progress.end();
    // Slow, but never still for as long as 30 s.
    for now in [25, 50, 75] {
        tick.store(now, Ordering::Relaxed);
        progress.uploads(false, false);
        progress.uploads(true, false);
        assert_eq!((phase(), progress.state.sweep(now + 25)), (Phase::Client as u8, None));
    }
    progress.uploads(false, true);
    assert_eq!((phase(), progress.owes_body()), (Phase::Idle as u8, false), "the next head has its own time");
    progress.begin();
    progress.uploads(false, true);
    assert_eq!(phase(), Phase::Application as u8);
}

#[test]
fn an_answer_that_is_waited_for_does_not_excuse_the_client_from_its_body() {
    let progress = Progress::new(Arc::new(ConnectionState::new(0)), Arc::new(AtomicU32::new(0)));
    let phase = || progress.state.phase.load(Ordering::Relaxed);
    progress.begin();
    progress.uploads(true, false);
    progress.caught_up();
    assert_eq!(phase(), Phase::Client as u8);
    progress.uploads_no_more();
    assert_eq!(phase(), Phase::Application as u8, "an application that wants no more of it may be silent");
    progress.moved();
    progress.caught_up();
    assert_eq!(phase(), Phase::Application as u8);
    progress.uploads(true, false);
    progress.begin();
    progress.moved();
    progress.caught_up();
    assert_eq!(phase(), Phase::Application as u8, "the next request is another");
}

#[test]
fn orders_only_grow_stronger() {
    let state = ConnectionState::new(0);
    state.cut();
    state.finish();
    assert_eq!(state.order.load(Ordering::Relaxed), Order::Cut as u8);
}

#[test]
fn who_sends_the_end_of_a_body_and_takes_nothing_of_the_answer_is_cut() {
    let tick = Arc::new(AtomicU32::new(0));
    let progress = Progress::new(Arc::new(ConnectionState::new(0)), Arc::clone(&tick));
    progress.begin();
    progress.uploads(true, false);
    progress.gave();
    tick.store(STALL_LIMIT - 1, Ordering::Relaxed);
    progress.uploads(false, true);
    progress.uploads_no_more();
    assert_eq!(progress.state.sweep(2 * STALL_LIMIT - 2), None, "what it sent began its time anew");
    assert_eq!(progress.state.sweep(2 * STALL_LIMIT - 1), Some(Refusal::Stalled));
    progress.caught_up();
    assert_eq!(progress.state.sweep(9 * STALL_LIMIT), None, "now it is the application's turn");
}
