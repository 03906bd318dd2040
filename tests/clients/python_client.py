"""Python's client, unmodified, against the cluster of KUBECONFIG; one line a step, read by the test beside it."""
import os
import sys
import threading
import time

from kubernetes import client, config, dynamic, watch
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.stream import portforward, stream

config.load_kube_config(os.environ["KUBECONFIG"])
core = client.CoreV1Api()


def eventually(look, seconds=30):
    deadline = time.time() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.time() < deadline, "not in time"
        time.sleep(0.05)


def has_account():
    try:
        return core.read_namespaced_service_account("default", ns)
    except client.ApiException:
        return None


ns = core.create_namespace({"metadata": {"generateName": "python-"}}).metadata.name
eventually(has_account)


def lists():
    assert len(core.list_node().items) == 2
    # Models refuse null where a list is required: every answer must have what they want.
    core.list_pod_for_all_namespaces()
    core.list_event_for_all_namespaces()
    client.RbacAuthorizationV1Api().list_cluster_role()
    client.StorageV1Api().list_storage_class()
    client.AdmissionregistrationV1Api().list_validating_webhook_configuration()
    client.ApiextensionsV1Api().list_custom_resource_definition()
    client.ApiregistrationV1Api().list_api_service()
    client.FlowcontrolApiserverV1Api().list_flow_schema()
    assert client.VersionApi().get_code().git_version.startswith("v1.36")


def watches():
    seen = []
    started = threading.Event()

    def follow():
        watcher = watch.Watch()
        version = core.list_namespaced_config_map(ns).metadata.resource_version
        started.set()
        for event in watcher.stream(core.list_namespaced_config_map, ns, resource_version=version, label_selector="py", timeout_seconds=20):
            seen.append(event["type"])
            if len(seen) == 3:
                watcher.stop()

    thread = threading.Thread(target=follow)
    thread.start()
    started.wait(10)
    core.create_namespaced_config_map(ns, {"metadata": {"name": "py", "labels": {"py": "1"}}, "data": {"a": "1"}})
    core.patch_namespaced_config_map("py", ns, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("py", ns)
    thread.join(20)
    assert seen == ["ADDED", "MODIFIED", "DELETED"], seen


def errors():
    try:
        core.read_namespaced_pod("nobody", ns)
    except client.ApiException as error:
        assert error.status == 404 and 'pods \\"nobody\\" not found' in error.body, error.body
    else:
        raise AssertionError("nobody is there")
    try:
        core.list_namespaced_config_map(ns, resource_version="999999999", timeout_seconds=1)
    except client.ApiException as error:
        assert error.status == 504, error


def dynamically():
    resources = dynamic.DynamicClient(client.ApiClient())
    maps = resources.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dyn"}, "data": {"a": "1"}}
    assert maps.create(body=body, namespace=ns).data.a == "1"
    applied = maps.server_side_apply(body={**body, "data": {"a": "2"}}, namespace=ns, name="dyn", field_manager="py", force_conflicts=True)
    assert applied.data.a == "2"
    for event in maps.watch(namespace=ns, timeout=5, name="dyn"):
        assert event["type"] == "ADDED" and event["object"].data.a == "2"
        break
    maps.delete(name="dyn", namespace=ns)
    assert resources.resources.get(api_version="apps/v1", kind="Deployment").subresources["scale"].kind == "Scale"


def elects():
    led = threading.Event()
    from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
    settings = electionconfig.Config(LeaseLock("py", ns, "one"), lease_duration=3, renew_deadline=2, retry_period=1,
                                     onstarted_leading=led.set, onstopped_leading=None)
    threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()
    assert led.wait(20)


PROGRAM = "Deno.serve({ port: 8080 }, () => new Response('hello'))"


def execs():
    core.create_namespaced_pod(ns, {
        "metadata": {"name": "program"},
        "spec": {"containers": [{"name": "c", "image": "denoland/deno:2.9.6", "args": ["eval", PROGRAM],
                                 "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}}]},
    })
    eventually(lambda: any(c.type == "Ready" and c.status == "True" for c in core.read_namespaced_pod("program", ns).status.conditions or []))
    answer = stream(core.connect_get_namespaced_pod_exec, "program", ns, command=["deno", "eval", "console.log(6*7)"],
                    stderr=True, stdin=False, stdout=True, tty=False)
    assert answer.strip() == "42", answer
    session = stream(core.connect_get_namespaced_pod_exec, "program", ns, command=["deno", "eval", "console.error('e'); Deno.exit(3)"],
                     stderr=True, stdin=False, stdout=True, tty=False, _preload_content=False)
    session.run_forever(timeout=20)
    assert session.returncode == 3 and session.read_stderr() == "e\n"


def forwards():
    forward = portforward(core.connect_get_namespaced_pod_portforward, "program", ns, ports="8080")
    connection = forward.socket(8080)
    connection.setblocking(True)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: program\r\nConnection: close\r\n\r\n")
    answer = b""
    while True:
        part = connection.recv(1024)
        if not part:
            break
        answer += part
    assert answer.endswith(b"hello"), answer
    assert forward.error(8080) is None


STEPS = {
    "lists, strictly read": lists,
    "watch": watches,
    "errors": errors,
    "dynamic client, server-side apply": dynamically,
    "leader election": elects,
    "exec": execs,
    "port-forward": forwards,
}
for name, step in STEPS.items():
    step()
    print(name, flush=True)
sys.exit(0)
