"""A test of a Deployment: `KUBECONFIG=… python3 -m unittest` in this folder."""
import unittest

from kubernetes.client import ApiException

from plesiotest import Cluster

WEB = "/apis/apps/v1/namespaces/default/deployments/web"


def deployment(replicas):
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "web"}, "spec": spec}


class DeploymentTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()

    def setUp(self):
        # Milliseconds: every test begins with the cluster as it was at its start
        self.cluster.reset()
        self.cluster.apps.create_namespaced_deployment("default", deployment(3))

    def ready(self, cluster):
        return cluster.apps.read_namespaced_deployment("web", "default").status.ready_replicas

    def test_settle(self):
        self.cluster.settle()
        self.assertEqual(self.ready(self.cluster), 3)

    def test_clock(self):
        self.cluster.until(WEB, "object.status.readyReplicas == 3")
        self.assertEqual(self.cluster.advance("1h30m")["advanced"], "1h30m0s")

    def test_fork(self):
        self.cluster.settle()
        with self.cluster.fork() as fork:
            fork.apps.delete_namespaced_deployment("web", "default")
            fork.settle()
            self.assertEqual(fork.apps.list_namespaced_deployment("default").items, [])
        self.assertEqual(self.ready(self.cluster), 3)

    def test_faults(self):
        self.cluster.settle()
        self.cluster.fault(name="conflicts", client="python-example", verb="patch",
                           resource="deployments.apps", times=2, status=409)
        for attempt in range(3):
            try:
                self.cluster.apps.patch_namespaced_deployment("web", "default", {"spec": {"replicas": 5}})
                break
            except ApiException as error:
                self.assertEqual(error.status, 409)
                self.cluster.advance("1s")
        self.cluster.settle()
        self.assertEqual(self.ready(self.cluster), 5)
        self.assertEqual(self.cluster.ask("GET", "faults/conflicts")["struck"], 2)

    def test_ledger(self):
        self.cluster.settle()
        self.cluster.check("python-example")
        self.cluster.apps.patch_namespaced_deployment("web", "default", {"spec": {"replicas": 3}})
        with self.assertRaises(ApiException) as found:
            self.cluster.check("python-example")
        self.assertIn("wrote what was there already", found.exception.body)

    def test_reset(self):
        self.cluster.reset()
        self.assertEqual(self.cluster.apps.list_namespaced_deployment("default").items, [])


if __name__ == "__main__":
    unittest.main()
