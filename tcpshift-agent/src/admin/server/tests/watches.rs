//! Watches: they outlast other requests, and end with a reason.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::world::{event, quick, world};
use crate::admin::api::{FailureReason, WatchEvent, WatchRequest};
use crate::admin::client::ClientError;
use crate::admin::server::Limits;

#[tokio::test]
async fn a_watch_goes_on_until_the_agent_ends() {
    let mut world = world(Limits { whole_time: Duration::from_millis(500), ..quick() }).await;
    let request =
        WatchRequest { kind: "gateway".into(), namespace: None, name: None, resource_version: Some("3".into()) };
    let mut watch = world.client.watch(&request).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().name, "before");
    sleep(Duration::from_millis(800)).await;
    let other = WatchEvent { kind: "service".to_owned(), ..event("other") };
    world.events.send(Arc::new(other)).unwrap();
    world.events.send(Arc::new(event("after"))).unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().name, "after");
    // Watches are fewer than connections, and their room comes back.
    let second = world.client.watch(&request).await.unwrap();
    assert!(
        matches!(world.client.watch(&request).await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Unavailable)
    );
    drop(second);
    let mut again = world.client.watch(&request).await;
    for _ in 0..100 {
        if again.is_ok() {
            break;
        }
        sleep(Duration::from_millis(20)).await;
        again = world.client.watch(&request).await;
    }
    assert!(again.is_ok(), "{again:?}");
    world.end.take().unwrap().send(()).unwrap();
    assert!(matches!(watch.next().await, Err(ClientError::Failure(f)) if f.reason == FailureReason::Unavailable));
    world.served.await.unwrap();
}

#[tokio::test]
async fn a_watch_that_lost_events_says_so() {
    let world = world(quick()).await;
    let request = WatchRequest { kind: "gateway".into(), namespace: None, name: None, resource_version: None };
    let mut watch = world.client.watch(&request).await.unwrap();
    watch.next().await.unwrap();
    for _ in 0..100 {
        world.events.send(Arc::new(event("many"))).unwrap();
    }
    let last = loop {
        if let Err(error) = watch.next().await.map(Option::unwrap) {
            break error;
        }
    };
    assert!(matches!(last, ClientError::Failure(f) if f.reason == FailureReason::Gone));
    world.end().await;
}
