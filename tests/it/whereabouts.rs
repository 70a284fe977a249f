//! Where the application runs: learned from ECS's metadata, in the background, after the sidecar listens.

use serde_json::Value;

use crate::support::client::Request;
use crate::support::eventually;
use crate::support::upstream::{Answer, Upstream};
use crate::support::world::{ALWAYS, World};

const CONTAINER: &str = r#"{"DockerId": "cd189a93", "ContainerARN": "arn:aws:ecs:us-west-2:111122223333:container/0596",
    "LogOptions": {"awslogs-group": "/ecs/shop"}}"#;
const TASK: &str = r#"{"Cluster": "default", "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/e902",
    "Family": "shop-family", "LaunchType": "FARGATE", "AvailabilityZone": "us-west-2a"}"#;

/// A stand-in for ECS's metadata service.
fn metadata() -> Upstream {
    Upstream::start(|seen| match seen.target().as_str() {
        "/v4/abc" => Answer::with(200, &[], CONTAINER),
        "/v4/abc/task" => Answer::with(200, &[], TASK),
        other => panic!("the metadata service was asked for {other}"),
    })
}

/// Sends requests until a document tells the origin: the place is looked up beside the traffic.
fn first_with_origin(world: &World) -> Value {
    let origin =
        |world: &World| world.sink.documents().into_iter().find(|document| document.get("origin").is_some());
    eventually("a document with an origin", || {
        world.send(&Request::get("/"));
        origin(world).is_some()
    });
    origin(world).unwrap()
}

#[test]
fn a_task_on_ecs_is_named_and_described() {
    let metadata = metadata();
    let uri = format!("http://{}/v4/abc", metadata.address());
    let world = World::start(|options| options.rules(ALWAYS).env("ECS_CONTAINER_METADATA_URI_V4", &uri));
    let document = first_with_origin(&world);
    assert_eq!(document["origin"], "AWS::ECS::Container");
    assert_eq!(document["name"], "shop-family", "the task's family names a service that nobody named");
    assert_eq!(document["aws"]["ecs"]["container_id"], "cd189a93");
    assert_eq!(document["aws"]["ecs"]["cluster_arn"], "arn:aws:ecs:us-west-2:111122223333:cluster/default");
    assert_eq!(document["aws"]["cloudwatch_logs"][0]["log_group"], "/ecs/shop");
    assert_eq!(document["aws"]["xray"]["sdk"], "collimator");
    let told = world.sidecar.admin("GET", "/config").json();
    let name = told["settings"].as_array().unwrap().iter().find(|one| one["key"] == "service.name").unwrap();
    assert_eq!((&name["value"], &name["source"]), (&"shop-family".into(), &"ECS family".into()));
}

#[test]
fn a_given_name_stays_and_a_silent_metadata_service_holds_up_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/v4/abc", silent.local_addr().unwrap());
    let world = World::start(|options| {
        options.rules(ALWAYS).env("ECS_CONTAINER_METADATA_URI_V4", &uri).args(&["--service-name", "given"])
    });
    assert_eq!(world.send(&Request::get("/")).status, 200);
    assert_eq!(world.sink.wait_for(1)[0]["name"], "given");
}
