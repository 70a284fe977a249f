//! What a client may leave unsaid, and for how long.

use super::*;
use crate::proxy::connection::ConnectionState;
use crate::proxy::received::Next;
use std::sync::atomic::AtomicU32;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{advance, timeout};

const NEARLY: Duration = Duration::from_millis(29_900);
const DAY: Duration = Duration::from_secs(86_400);

/// What a client sends, as a test says it.
struct Said(UnboundedReceiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn upload(limited: bool) -> (UnboundedSender<Bytes>, Upload<Said>, Progress, Arc<WorkerTally>) {
    let (client, said) = unbounded_channel();
    let tally = Arc::<WorkerTally>::default();
    let tick = Arc::new(AtomicU32::new(0));
    let progress = Progress::new(Arc::new(ConnectionState::new(0)), tick);
    let stall = limited.then(|| Stall::new(Arc::clone(&tally)));
    (client, Upload::new(Said(said), progress.clone(), stall), progress, tally)
}

/// What comes next, if anything does within the time; it is the application that waits.
async fn next(upload: &mut Upload<Said>, within: Duration) -> Option<Option<Result<usize, String>>> {
    let next = std::future::poll_fn(|cx| upload.poll(cx));
    let next = timeout(within, next).await.ok()?;
    Some(
        next.map(|read| {
            read.map(|frame| frame.into_data().unwrap().len()).map_err(|error| error.to_string())
        }),
    )
}

fn paused(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

#[test]
fn a_stream_whose_client_sends_nothing_for_30_s_breaks_off_and_is_counted_once() {
    paused(async {
        let (client, mut upload, progress, tally) = upload(true);
        for _ in 0..5 {
            assert_eq!(next(&mut upload, NEARLY).await, None);
            client.send(Bytes::from_static(b"some")).unwrap();
            assert_eq!(next(&mut upload, NEARLY).await, Some(Some(Ok(4))));
        }
        assert_eq!(next(&mut upload, NEARLY).await, None);
        assert_eq!((progress.unsaid(), tally.refusals(Refusal::Stalled)), (None, 0));
        let broken = "the client sends no more of the body".to_owned();
        for _ in 0..2 {
            assert_eq!(next(&mut upload, NEARLY).await, Some(Some(Err(broken.clone()))));
        }
        assert_eq!((progress.unsaid(), tally.refusals(Refusal::Stalled)), (Some(Unsaid::Stalled), 1));
    });
}

#[test]
fn the_time_that_the_application_takes_is_not_the_clients() {
    paused(async {
        let (client, mut upload, _, tally) = upload(true);
        assert_eq!(next(&mut upload, NEARLY).await, None);
        client.send(Bytes::from_static(b"some")).unwrap();
        assert_eq!(next(&mut upload, NEARLY).await, Some(Some(Ok(4))));
        advance(DAY).await;
        assert_eq!(next(&mut upload, NEARLY).await, None, "its time begins when more is asked for");
        drop(client);
        assert_eq!(next(&mut upload, NEARLY).await, Some(None), "the end is an end");
        assert_eq!(tally.refusals(Refusal::Stalled), 0);
    });
}

#[test]
fn without_a_limit_of_its_own_a_stream_may_be_silent_for_a_day() {
    paused(async {
        let (client, mut upload, ..) = upload(false);
        assert_eq!(next(&mut upload, DAY).await, None);
        client.send(Bytes::from_static(b"some")).unwrap();
        assert_eq!(next(&mut upload, DAY).await, Some(Some(Ok(4))));
    });
}
