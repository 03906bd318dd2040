// Command informer runs a shared informer of unmodified client-go against the cluster of KUBECONFIG, with protobuf
// bodies, and says what it saw: one line a step, so that the test beside it can read along.
package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	fmt.Println("done")
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	const namespace = "default"
	var added, updated, deleted atomic.Int32
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { count(o, &added) },
		UpdateFunc: func(_, o any) { count(o, &updated) },
		DeleteFunc: func(o any) { count(o, &deleted) },
	})
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("the cache did not sync")
	}
	fmt.Println("synced")
	maps := client.CoreV1().ConfigMaps(namespace)
	for i := 0; i < 20; i++ {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("go-%d", i), Labels: map[string]string{"from": "go"}}, Data: map[string]string{"n": fmt.Sprint(i)}, BinaryData: map[string][]byte{"b": {0, 255}}}
		if _, err := maps.Create(ctx, object, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	for i := 0; i < 20; i += 2 {
		object, err := maps.Get(ctx, fmt.Sprintf("go-%d", i), metav1.GetOptions{})
		if err != nil {
			return err
		}
		object.Data["n"] = "changed"
		if _, err := maps.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("update: %w", err)
		}
	}
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "from=go", Limit: 7})
	if err != nil || len(list.Items) != 7 || list.Continue == "" || string(list.Items[0].BinaryData["b"]) != "\x00\xff" {
		return fmt.Errorf("list: %v, %d items, continue %q", err, len(list.Items), list.Continue)
	}
	if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "from=go"}); err != nil {
		return fmt.Errorf("delete collection: %w", err)
	}
	seen := func(context.Context) (bool, error) {
		return added.Load() == 20 && updated.Load() == 10 && deleted.Load() == 20, nil
	}
	if err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 15*time.Second, true, seen); err != nil {
		return fmt.Errorf("events: %d added, %d updated, %d deleted", added.Load(), updated.Load(), deleted.Load())
	}
	fmt.Println("events 20 10 20")
	return rollOut(ctx, client, namespace)
}

func count(object any, counter *atomic.Int32) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	if m, ok := object.(*corev1.ConfigMap); ok && m.Labels["from"] == "go" {
		counter.Add(1)
	}
}

func rollOut(ctx context.Context, client kubernetes.Interface, namespace string) error {
	labels := map[string]string{"app": "go"}
	replicas := int32(3)
	deployments := client.AppsV1().Deployments(namespace)
	_, err := deployments.Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "go"},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx:1.27"}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	ready := func(ctx context.Context) (bool, error) {
		d, err := deployments.Get(ctx, "go", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == replicas && d.Status.ObservedGeneration == d.Generation, err
	}
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 20*time.Second, true, ready); err != nil {
		return fmt.Errorf("the deployment did not become ready: %w", err)
	}
	fmt.Println("deployment ready")
	return deployments.Delete(ctx, "go", metav1.DeleteOptions{})
}
