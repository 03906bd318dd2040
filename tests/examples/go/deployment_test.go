// Package examples tests a Deployment: KUBECONFIG=… go test .
package examples

import (
	"context"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"plesio.dev/examples/plesiotest"
)

const web = "/apis/apps/v1/namespaces/default/deployments/web"

var ctx = context.Background()

func start(t *testing.T) *plesiotest.Cluster {
	cluster := plesiotest.New(t, os.Getenv("KUBECONFIG"), "go-example/1")
	labels := map[string]string{"app": "web"}
	replicas := int32(3)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas,
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}},
		},
	}}
	if _, err := cluster.AppsV1().Deployments("default").Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cluster.Settle()
	return cluster
}

func ready(t *testing.T, cluster *plesiotest.Cluster, want int32) {
	t.Helper()
	got, err := cluster.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	if err != nil || got.Status.ReadyReplicas != want {
		t.Fatalf("%d replicas are ready, not %d (%v)", got.Status.ReadyReplicas, want, err)
	}
}

func TestSettle(t *testing.T) { ready(t, start(t), 3) }

func TestClock(t *testing.T) {
	cluster := start(t)
	cluster.Until(plesiotest.Condition{Path: web, CEL: "object.status.readyReplicas == 3"})
	cluster.Advance("1h30m")
	ready(t, cluster, 3)
}

func TestFork(t *testing.T) {
	cluster := start(t)
	fork := cluster.Fork(t)
	if err := fork.AppsV1().Deployments("default").Delete(ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	fork.Settle()
	ready(t, cluster, 3)
}

func TestFaults(t *testing.T) {
	cluster := start(t)
	cluster.Fault("conflicts", map[string]any{"client": "go-example", "verb": "update", "times": 2, "status": 409})
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		deployment, err := cluster.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		*deployment.Spec.Replicas = 5
		_, err = cluster.AppsV1().Deployments("default").Update(ctx, deployment, metav1.UpdateOptions{})
		return err
	})
	if err != nil || cluster.Struck("conflicts") != 2 {
		t.Fatalf("struck %d times (%v)", cluster.Struck("conflicts"), err)
	}
	cluster.Settle()
	ready(t, cluster, 5)
}

func TestLedger(t *testing.T) {
	cluster := start(t)
	if err := cluster.Check("go-example"); err != nil {
		t.Fatal(err)
	}
	same := []byte(`{"spec": {"replicas": 3}}`)
	if _, err := cluster.AppsV1().Deployments("default").Patch(ctx, "web", types.MergePatchType, same, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Check("go-example"); err == nil || !strings.Contains(err.Error(), "wrote what was there already") {
		t.Fatalf("a write of nothing was not found: %v", err)
	}
}

func TestReset(t *testing.T) {
	cluster := start(t)
	cluster.Reset()
	list, err := cluster.AppsV1().Deployments("default").List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 0 {
		t.Fatalf("%d are left (%v)", len(list.Items), err)
	}
}
