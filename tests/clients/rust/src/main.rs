//! `kube`, unmodified, against the cluster of KUBECONFIG: watchers by streaming lists and by LIST, server-side
//! apply, metadata alone, exec, port-forward. One line a step, read by the test beside it.
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{
    ApiResource, AttachParams, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::runtime::{WatchStreamExt, reflector, wait::await_condition, wait::conditions, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible {
    let client = Client::try_default().await?;
    let namespace = make_namespace(&client).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    watch(&maps, watcher::Config::default().streaming_lists(), "streamed").await?;
    println!("watcher by streaming lists");
    watch(&maps, watcher::Config::default().labels("by=listed"), "listed").await?;
    println!("watcher by LIST and WATCH");
    apply(&maps).await?;
    println!("server-side apply, conflict and force");
    metadata(&client, &namespace).await?;
    println!("metadata and dynamic objects");
    streams(&client, &namespace).await?;
    println!("exec and port-forward");
    println!("done");
    Ok(())
}

async fn make_namespace(client: &Client) -> Fallible<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let wanted = serde_json::from_value(json!({ "metadata": { "generateName": "rust-" } }))?;
    let made = namespaces.create(&PostParams::default(), &wanted).await?;
    let name = made.name_any();
    // Pods need the account that a controller makes.
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client.clone(), &name);
    while accounts.get_opt("default").await?.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(name)
}

fn config_map(name: &str) -> Fallible<ConfigMap> {
    let labels = json!({ "by": name.split('-').next() });
    Ok(serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels }, "data": { "a": "1" } }))?)
}

async fn watch(maps: &Api<ConfigMap>, config: watcher::Config, by: &str) -> Fallible {
    maps.create(&PostParams::default(), &config_map(&format!("{by}-before"))?).await?;
    let (store, writer) = reflector::store();
    let mut events = watcher(maps.clone(), config).default_backoff().reflect(writer).applied_objects().boxed();
    let wait = Duration::from_secs(20);
    loop {
        let seen = tokio::time::timeout(wait, events.try_next()).await??.ok_or("the stream ended")?;
        if seen.name_any() == format!("{by}-before") {
            break;
        }
    }
    maps.create(&PostParams::default(), &config_map(&format!("{by}-after"))?).await?;
    let seen = tokio::time::timeout(wait, events.try_next()).await??.ok_or("the stream ended")?;
    assert_eq!(seen.name_any(), format!("{by}-after"));
    // The store is whole once the first list has ended, which the event above came after.
    store.wait_until_ready().await?;
    assert!(store.find(|object| object.name_any() == format!("{by}-before")).is_some());
    Ok(())
}

async fn apply(maps: &Api<ConfigMap>) -> Fallible {
    let body = |value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "applied" }, "data": { "a": value } });
    maps.patch("applied", &PatchParams::apply("one"), &Patch::Apply(body("1"))).await?;
    let refused = maps.patch("applied", &PatchParams::apply("two"), &Patch::Apply(body("2"))).await;
    match refused {
        Err(kube::Error::Api(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
            assert!(status.message.contains("conflict with \"one\": .data.a"), "{}", status.message);
        }
        other => return Err(format!("wanted a conflict, got {other:?}").into()),
    }
    let forced = maps.patch("applied", &PatchParams::apply("two").force(), &Patch::Apply(body("2"))).await?;
    assert_eq!(forced.data.unwrap()["a"], "2");
    let json_patch = maps.patch("applied", &PatchParams::default(), &Patch::Merge(json!({ "data": { "b": "3" } }))).await?;
    assert_eq!(json_patch.data.unwrap().len(), 2);
    Ok(())
}

async fn metadata(client: &Client, namespace: &str) -> Fallible {
    let resource = ApiResource::erase::<ConfigMap>(&());
    let maps: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let list = maps.list_metadata(&ListParams::default().labels("by=listed").limit(1)).await?;
    assert_eq!(list.items.len(), 1);
    assert!(list.metadata.continue_.is_some());
    assert_eq!(list.items[0].types.as_ref().unwrap().kind, "PartialObjectMetadata");
    let whole = maps.get("applied").await?;
    assert_eq!(whole.data["data"]["a"], "2");
    let started = maps.delete("applied", &DeleteParams::background()).await?;
    drop(started);
    assert!(maps.get_opt("applied").await?.is_none());
    Ok(())
}

async fn streams(client: &Client, namespace: &str) -> Fallible {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let program = "Deno.serve({ port: 8080 }, () => new Response('hello'))";
    let wanted = serde_json::from_value(json!({ "metadata": { "name": "program" },
        "spec": { "containers": [{ "name": "c", "image": "denoland/deno:2.9.6", "args": ["eval", program],
            "readinessProbe": { "httpGet": { "port": 8080 }, "periodSeconds": 1 } }] } }))?;
    pods.create(&PostParams::default(), &wanted).await?;
    let ready = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|p| p.status.as_ref()).and_then(|s| s.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    tokio::time::timeout(Duration::from_secs(30), await_condition(pods.clone(), "program", ready)).await??;
    let script = "console.log((await new Response(Deno.stdin.readable).text()).toUpperCase()); Deno.exit(3)";
    let parameters = AttachParams::default().stdin(true).stdout(true).stderr(true).container("c");
    let mut process = pods.exec("program", ["deno", "eval", script], &parameters).await?;
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"shout").await?;
    stdin.shutdown().await?;
    drop(stdin);
    let mut said = String::new();
    process.stdout().unwrap().read_to_string(&mut said).await?;
    assert_eq!(said, "SHOUT\n");
    let status = process.take_status().unwrap().await.ok_or("no status")?;
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    process.join().await?;

    let mut forwarder = pods.portforward("program", &[8080]).await?;
    let mut connection = forwarder.take_stream(8080).unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nHost: program\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    assert!(answer.ends_with("hello"), "{answer}");
    drop(connection);
    forwarder.abort();

    let uid = pods.get("program").await?.uid().unwrap();
    let gone = await_condition(pods.clone(), "program", conditions::is_deleted(&uid));
    pods.delete("program", &DeleteParams::default().grace_period(0)).await?;
    tokio::time::timeout(Duration::from_secs(30), gone).await??;
    Ok(())
}
