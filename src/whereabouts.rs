//! Where the application runs: `origin` and the blocks of `aws` in every segment.
//!
//! Asked after the sidecar listens, never before, and in the background: a metadata service that does not answer costs
//! nothing but the fields it would have filled. Only ECS's and EKS's own signs are looked for; the instance's metadata
//! service is not asked, because inside a task it tells of the host and not of the application.

use crate::config::Signs;
use crate::fetch;
use crate::segment::{Identity, SegmentName};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long the metadata service may take for one answer.
const LIMIT: Duration = Duration::from_secs(2);

/// Fills in what can be learned about the place. EKS before ECS: the more specific wins.
///
/// Where nobody named the service (`name_is_guessed`), an ECS task's family is a better name than the host's.
pub async fn look(signs: &Signs, identity: &Identity, name_is_guessed: bool) -> Option<Identity> {
    let mut found = identity.clone();
    if signs.in_kubernetes {
        found.origin = Some("AWS::EKS::Container".to_owned());
        let mut eks = Map::new();
        eks.extend(signs.host_name.as_ref().map(|name| ("pod".to_owned(), json!(name))));
        found.aws.insert("eks".to_owned(), Value::Object(eks));
        return Some(found);
    }
    let uri = signs.ecs_metadata.as_deref()?;
    found.origin = Some("AWS::ECS::Container".to_owned());
    let container = fetch::json(uri, LIMIT).await.ok();
    let task = fetch::json(&format!("{uri}/task"), LIMIT).await.ok();
    if name_is_guessed && let Some(family) = task.as_ref().and_then(|task| task.get("Family")?.as_str()) {
        found.name = SegmentName::repair(family);
    }
    found.aws.extend(ecs_blocks(signs, container.as_ref(), task.as_ref()));
    Some(found)
}

/// The blocks `ecs` and `cloudwatch_logs`, from what the metadata service said of the container and of its task.
fn ecs_blocks(signs: &Signs, container: Option<&Value>, task: Option<&Value>) -> Map<String, Value> {
    let mut ecs = Map::new();
    let mut put = |key: &str, value: Option<&Value>| {
        if let Some(Value::String(text)) = value
            && !text.is_empty()
        {
            ecs.insert(key.to_owned(), json!(text.chars().take(500).collect::<String>()));
        }
    };
    put("container", signs.host_name.clone().map(Value::String).as_ref());
    let of_container = |key: &str| container.and_then(|container| container.get(key));
    put("container_id", of_container("DockerId"));
    put("container_arn", of_container("ContainerARN"));
    let of_task = |key: &str| task.and_then(|task| task.get(key));
    put("task_arn", of_task("TaskARN"));
    put("task_family", of_task("Family"));
    put("availability_zone", of_task("AvailabilityZone"));
    put("launch_type", of_task("LaunchType"));
    put("cluster_arn", of_task("Cluster").map(|cluster| cluster_arn(cluster, of_task("TaskARN"))).as_ref());
    let mut blocks = Map::from_iter([("ecs".to_owned(), Value::Object(ecs))]);
    if let Some(Value::String(group)) =
        container.and_then(|container| container.pointer("/LogOptions/awslogs-group"))
    {
        blocks.insert("cloudwatch_logs".to_owned(), json!([{ "log_group": group }]));
    }
    blocks
}

/// `Cluster` may be a bare name; the rest of its ARN is in the task's.
fn cluster_arn(cluster: &Value, task_arn: Option<&Value>) -> Value {
    let (Some(name), Some(task)) = (cluster.as_str(), task_arn.and_then(Value::as_str)) else {
        return cluster.clone();
    };
    match task.split_once(":task/") {
        Some((prefix, _)) if !name.starts_with("arn:") => json!(format!("{prefix}:cluster/{name}")),
        _ => cluster.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fargate_task_is_described() {
        let signs = Signs { host_name: Some("ip-10-0-0-7".into()), ..Signs::default() };
        let container = json!({
            "DockerId": "cd189a933e5849daa93386466019ab50-2495160603",
            "ContainerARN": "arn:aws:ecs:us-west-2:111122223333:container/05966557",
            "LogOptions": { "awslogs-group": "/ecs/shop", "awslogs-region": "us-west-2" }
        });
        let task = json!({
            "Cluster": "default", "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/e9028f8d5d8e4f25",
            "Family": "shop", "LaunchType": "FARGATE", "AvailabilityZone": "us-west-2a"
        });
        assert_eq!(
            Value::Object(ecs_blocks(&signs, Some(&container), Some(&task))),
            json!({
                "ecs": {
                    "container": "ip-10-0-0-7", "container_id": "cd189a933e5849daa93386466019ab50-2495160603",
                    "container_arn": "arn:aws:ecs:us-west-2:111122223333:container/05966557",
                    "task_arn": "arn:aws:ecs:us-west-2:111122223333:task/default/e9028f8d5d8e4f25",
                    "task_family": "shop", "availability_zone": "us-west-2a", "launch_type": "FARGATE",
                    "cluster_arn": "arn:aws:ecs:us-west-2:111122223333:cluster/default"
                },
                "cloudwatch_logs": [{ "log_group": "/ecs/shop" }]
            })
        );
    }

    #[test]
    fn a_metadata_service_that_says_nothing_leaves_the_host_name() {
        let signs = Signs { host_name: Some("h".into()), ..Signs::default() };
        assert_eq!(
            Value::Object(ecs_blocks(&signs, None, Some(&json!([1])))),
            json!({"ecs": {"container": "h"}})
        );
    }
}
