"""What tests do with a Plesio beside speaking Kubernetes: `deno task start --test-kit`, and KUBECONFIG."""
import copy
import json

from kubernetes import client, config


class Cluster:
    """A cluster, or a fork of one: its `api` is any client's of the package kubernetes."""

    def __init__(self, api=None):
        self.api = api or config.new_client_from_config()
        self.api.user_agent = "python-example/1"
        self.apps = client.AppsV1Api(self.api)

    def ask(self, method, path, body=None):
        url = self.api.configuration.host + "/plesio/v1/" + path
        body = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json"}
        answer = self.api.rest_client.pool_manager.request(method, url, body=body, headers=headers)
        if answer.status < 400:
            return json.loads(answer.data)
        error = client.ApiException(status=answer.status, reason=answer.reason)
        error.body = answer.data.decode()
        raise error

    def advance(self, by):
        return self.ask("POST", "clock", {"advance": by})

    def until(self, path, cel, within="1h"):
        return self.ask("POST", "clock", {"until": {"path": path, "cel": cel, "within": within}})

    def settle(self, within="1m"):
        return self.ask("POST", "settle", {"within": within})

    def reset(self):
        return self.ask("POST", "reset")

    def fault(self, **fault):
        return self.ask("POST", "faults", fault)

    def check(self, client=None, **limits):
        """Raises ApiException 409, which says in plain words what is beyond the limits."""
        order = {"client": client, "limits": limits or None}
        return self.ask("POST", "ledger/check", order)

    def fork(self):
        """Another cluster that begins where this one is, and is gone after the `with`."""
        return Fork(self)


class Fork(Cluster):
    def __init__(self, parent):
        self.parent = parent
        made = parent.ask("POST", "forks", {})
        self.name = made["name"]
        configuration = copy.copy(parent.api.configuration)
        configuration.host += made["path"]
        super().__init__(client.ApiClient(configuration))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.parent.ask("DELETE", "forks/" + self.name)
