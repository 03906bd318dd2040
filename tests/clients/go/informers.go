package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/features"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

var informerSteps = []step{
	{"informer by WatchList", func(ctx context.Context, w *world) error {
		return informed(ctx, w, true, "watch=true", "sendInitialEvents=true&", "accept=application/vnd.kubernetes.protobuf")
	}},
	{"informer by LIST and WATCH", func(ctx context.Context, w *world) error {
		return informed(ctx, w, false, "GET", "/configmaps?limit=500&resourceVersion=0 ", "accept=application/vnd.kubernetes.protobuf")
	}},
	{"dynamic and metadata informers", otherInformers},
	{"retry watcher", retryWatcher},
	{"a Deployment becomes ready", rollOut},
}

// gates says which way a reflector takes.
type gates struct{ watchList bool }

func (g gates) Enabled(feature features.Feature) bool {
	return feature == features.WatchListClient && g.watchList
}

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

type counts struct{ added, updated, deleted atomic.Int32 }

func (c *counts) handler() cache.ResourceEventHandler {
	count := func(object any, counter *atomic.Int32) {
		if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = last.Obj
		}
		if m, ok := object.(metav1.Object); ok && m.GetLabels()["from"] == "go" {
			counter.Add(1)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { count(o, &c.added) },
		UpdateFunc: func(_, o any) { count(o, &c.updated) },
		DeleteFunc: func(o any) { count(o, &c.deleted) },
	}
}

func (c *counts) reach(ctx context.Context, added, updated, deleted int32) error {
	err := until(ctx, "events", func() (bool, error) {
		return c.added.Load() == added && c.updated.Load() == updated && c.deleted.Load() == deleted, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %d added, %d updated, %d deleted", err, c.added.Load(), c.updated.Load(), c.deleted.Load())
	}
	return nil
}

func newConfigMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"from": "go"}}, Data: map[string]string{"n": name}, BinaryData: map[string][]byte{"b": {0, 255}}}
}

func informed(ctx context.Context, w *world, watchList bool, wire ...string) error {
	features.ReplaceFeatureGates(gates{watchList})
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	for i := 0; i < 5; i++ {
		if _, err := maps.Create(ctx, newConfigMap(fmt.Sprintf("before-%d", i)), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	seen := &counts{}
	factory := informers.NewSharedInformerFactoryWithOptions(w.client, 0, informers.WithNamespace(w.namespace))
	informer := factory.Core().V1().ConfigMaps().Informer()
	if _, err := informer.AddEventHandler(seen.handler()); err != nil {
		return err
	}
	if err := informer.AddIndexers(cache.Indexers{"n": func(o any) ([]string, error) { return []string{o.(*corev1.ConfigMap).Data["n"]}, nil }}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("the cache did not sync")
	}
	if err := first(seen.reach(ctx, 5, 0, 0), w.wire.expect(wire...)); err != nil {
		return err
	}
	for i := 0; i < 20; i++ {
		if _, err := maps.Create(ctx, newConfigMap(fmt.Sprintf("go-%d", i)), metav1.CreateOptions{}); err != nil {
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
	if err := seen.reach(ctx, 25, 10, 0); err != nil {
		return err
	}
	changed, err := informer.GetIndexer().ByIndex("n", "changed")
	if err != nil || len(changed) != 10 || string(changed[0].(*corev1.ConfigMap).BinaryData["b"]) != "\x00\xff" {
		return fmt.Errorf("by index: %v, %d objects", err, len(changed))
	}
	if err := maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "from=go"}); err != nil {
		return fmt.Errorf("delete collection: %w", err)
	}
	return seen.reach(ctx, 25, 10, 25)
}

func otherInformers(ctx context.Context, w *world) error {
	features.ReplaceFeatureGates(gates{true})
	dynamicClient, err := dynamic.NewForConfig(w.config)
	if err != nil {
		return err
	}
	metadataClient, err := metadata.NewForConfig(w.config)
	if err != nil {
		return err
	}
	whole, bare := &counts{}, &counts{}
	one := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamicClient, 0, w.namespace, nil)
	two := metadatainformer.NewFilteredSharedInformerFactory(metadataClient, 0, w.namespace, nil)
	if _, err := one.ForResource(configMaps).Informer().AddEventHandler(whole.handler()); err != nil {
		return err
	}
	if _, err := two.ForResource(configMaps).Informer().AddEventHandler(bare.handler()); err != nil {
		return err
	}
	one.Start(ctx.Done())
	two.Start(ctx.Done())
	one.WaitForCacheSync(ctx.Done())
	two.WaitForCacheSync(ctx.Done())
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Create(ctx, newConfigMap("one"), metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := first(whole.reach(ctx, 1, 0, 0), bare.reach(ctx, 1, 0, 0)); err != nil {
		return err
	}
	object, err := two.ForResource(configMaps).Lister().ByNamespace(w.namespace).Get("one")
	if err != nil {
		return err
	}
	partial := object.(*metav1.PartialObjectMetadata)
	if partial.Kind != "PartialObjectMetadata" && partial.Name != "one" {
		return fmt.Errorf("metadata: %+v", partial)
	}
	if err := metadataClient.Resource(configMaps).Namespace(w.namespace).Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return first(whole.reach(ctx, 1, 0, 1), bare.reach(ctx, 1, 0, 1),
		w.wire.expect("watch=true", "accept=application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"))
}

func retryWatcher(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	list, err := maps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	// A second each: the watcher goes on where the closed one was, so that nothing is lost or comes twice.
	short := int64(1)
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.TimeoutSeconds = &short
			return maps.Watch(ctx, options)
		},
	})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	go func() {
		for i := 0; i < 4; i++ {
			_, _ = maps.Create(ctx, newConfigMap(fmt.Sprintf("slow-%d", i)), metav1.CreateOptions{})
			time.Sleep(700 * time.Millisecond)
		}
	}()
	var names []string
	for len(names) < 4 {
		select {
		case event := <-watcher.ResultChan():
			if object, ok := event.Object.(*corev1.ConfigMap); ok && event.Type == watch.Added && object.Labels["from"] == "go" {
				names = append(names, object.Name)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := equal("events", strings.Join(names, " "), "slow-0 slow-1 slow-2 slow-3"); err != nil {
		return err
	}
	// A version that is yet to come is waited for a moment, then told as such; the client would ask ten times.
	err = w.client.CoreV1().RESTClient().Get().Namespace(w.namespace).Resource("configmaps").
		Param("resourceVersion", "999999999999").MaxRetries(0).Do(ctx).Error()
	if !apierrors.IsTimeout(err) || !strings.Contains(err.Error(), "Too large resource version: 999999999999, current: ") {
		return fmt.Errorf("a version yet to come: %v", err)
	}
	return nil
}

func rollOut(ctx context.Context, w *world) error {
	labels := map[string]string{"app": "go"}
	replicas := int32(3)
	deployments := w.client.AppsV1().Deployments(w.namespace)
	_, err := deployments.Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "go"},
		Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx:1.27"}}}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("deployment: %w", err)
	}
	watcher := cache.NewListWatchFromClient(w.client.AppsV1().RESTClient(), "deployments", w.namespace, fields.Everything())
	_, err = watchtools.UntilWithSync(ctx, watcher, &appsv1.Deployment{}, nil, func(event watch.Event) (bool, error) {
		d, ok := event.Object.(*appsv1.Deployment)
		return ok && d.Status.ReadyReplicas == replicas && d.Status.ObservedGeneration == d.Generation, nil
	})
	if err != nil {
		return fmt.Errorf("the deployment did not become ready: %w", err)
	}
	return deployments.Delete(ctx, "go", metav1.DeleteOptions{})
}
