package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	coreapply "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"
)

var objectSteps = []step{
	{"protobuf bodies both ways", protobufBodies},
	{"patch types", patchTypes},
	{"server-side apply, typed", applyTyped},
	{"dynamic client with a custom resource", dynamicResources},
	{"pages, and a continue token that is no token", pages},
	{"retry on conflict", retryOnConflict},
	{"bookmarks and initial events", bookmarks},
	{"leader election", elect},
	{"dry run, field validation, preconditions", writesWithOptions},
}

func protobufBodies(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	made, err := maps.Create(ctx, newConfigMap("proto"), metav1.CreateOptions{FieldManager: "go"})
	if err != nil {
		return err
	}
	if made.CreationTimestamp.IsZero() || string(made.BinaryData["b"]) != "\x00\xff" || made.ManagedFields[0].Manager != "go" {
		return fmt.Errorf("what came back: %+v", made)
	}
	foreground := metav1.DeletePropagationForeground
	grace := int64(0)
	options := metav1.DeleteOptions{PropagationPolicy: &foreground, GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &made.UID}}
	if err := maps.Delete(ctx, "proto", options); err != nil {
		return err
	}
	_, err = maps.Get(ctx, "nobody", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) || err.Error() != `configmaps "nobody" not found` {
		return fmt.Errorf("an error in protobuf: %v", err)
	}
	return first(w.wire.expect("POST", "/configmaps?fieldManager=go body=application/vnd.kubernetes.protobuf"),
		w.wire.expect("DELETE", "body=application/vnd.kubernetes.protobuf"))
}

func patchTypes(ctx context.Context, w *world) error {
	pods := w.client.CoreV1().Pods(w.namespace)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "patched"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "nginx:1"}, {Name: "b", Image: "nginx:1"}}}}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return err
	}
	for _, row := range []struct {
		kind  types.PatchType
		body  string
		check func(*corev1.Pod) bool
	}{
		{types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"b","image":"nginx:2"}]}}`, func(p *corev1.Pod) bool {
			return len(p.Spec.Containers) == 2 && p.Spec.Containers[0].Image == "nginx:1" && p.Spec.Containers[1].Image == "nginx:2"
		}},
		{types.MergePatchType, `{"metadata":{"labels":{"a":"1","b":"2"}}}`, func(p *corev1.Pod) bool { return p.Labels["b"] == "2" }},
		{types.JSONPatchType, `[{"op":"test","path":"/metadata/labels/a","value":"1"},{"op":"remove","path":"/metadata/labels/a"}]`, func(p *corev1.Pod) bool {
			_, there := p.Labels["a"]
			return !there
		}},
		{types.ApplyPatchType, `{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"applied":"yes"}}}`, func(p *corev1.Pod) bool { return p.Annotations["applied"] == "yes" }},
	} {
		options := metav1.PatchOptions{}
		if row.kind == types.ApplyPatchType {
			options.FieldManager = "go"
		}
		patched, err := pods.Patch(ctx, "patched", row.kind, []byte(row.body), options)
		if err != nil || !row.check(patched) {
			return fmt.Errorf("%s: %v %+v", row.kind, err, patched)
		}
	}
	_, err := pods.Patch(ctx, "patched", types.JSONPatchType, []byte(`[{"op":"test","path":"/metadata/labels/b","value":"9"}]`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		return fmt.Errorf("a test that fails: %v", err)
	}
	status, err := pods.Patch(ctx, "patched", types.StrategicMergePatchType, []byte(`{"status":{"conditions":[{"type":"Gate","status":"True"}]}}`), metav1.PatchOptions{}, "status")
	if err != nil || len(status.Status.Conditions) == 0 {
		return fmt.Errorf("status: %v", err)
	}
	return nil
}

func applyTyped(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	mine := coreapply.ConfigMap("applied", w.namespace).WithData(map[string]string{"a": "1", "b": "1"})
	if _, err := maps.Apply(ctx, mine, metav1.ApplyOptions{FieldManager: "one"}); err != nil {
		return err
	}
	theirs := coreapply.ConfigMap("applied", w.namespace).WithData(map[string]string{"b": "2"})
	_, err := maps.Apply(ctx, theirs, metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "one": .data.b`) {
		return fmt.Errorf("wanted a conflict, got %v", err)
	}
	if _, err := maps.Apply(ctx, theirs, metav1.ApplyOptions{FieldManager: "two", Force: true}); err != nil {
		return err
	}
	// Who leaves a field out that he owns alone removes it; what another took stays.
	object, err := maps.Apply(ctx, coreapply.ConfigMap("applied", w.namespace), metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		return err
	}
	if err := equal("data", fmt.Sprint(object.Data), "map[b:2]"); err != nil {
		return err
	}
	owned, err := coreapply.ExtractConfigMap(object, "two")
	if err != nil {
		return err
	}
	return equal("extracted", fmt.Sprint(owned.Data), "map[b:2]")
}

const widgets = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.go.plesio.dev"},"spec":{"group":"go.plesio.dev","scope":"Namespaced",
"names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"size":{"type":"integer","default":3,"x-kubernetes-validations":[{"rule":"self < 9","message":"too big"}]},
"parts":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"n":{"type":"integer"}}}}}},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}}`

func dynamicResources(ctx context.Context, w *world) error {
	client, err := dynamic.NewForConfig(w.config)
	if err != nil {
		return err
	}
	definition := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(widgets), &definition.Object); err != nil {
		return err
	}
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Create(ctx, definition, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := until(ctx, "Established", func() (bool, error) {
		object, err := definitions.Get(ctx, definition.GetName(), metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
		for _, c := range conditions {
			if condition := c.(map[string]any); condition["type"] == "Established" && condition["status"] == "True" {
				return true, nil
			}
		}
		return false, nil
	}); err != nil {
		return err
	}
	resource := client.Resource(schema.GroupVersionResource{Group: "go.plesio.dev", Version: "v1", Resource: "widgets"}).Namespace(w.namespace)
	widget := func(spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "go.plesio.dev/v1", "kind": "Widget", "metadata": map[string]any{"name": "w"}, "spec": spec}}
	}
	made, err := resource.Create(ctx, widget(map[string]any{}), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	size, _, _ := unstructured.NestedInt64(made.Object, "spec", "size")
	if err := equal("a default", size, 3); err != nil {
		return err
	}
	part := func(name string, n int64) any { return map[string]any{"name": name, "n": n} }
	for manager, parts := range map[string][]any{"one": {part("a", 1)}, "two": {part("b", 2)}} {
		if _, err := resource.Apply(ctx, "w", widget(map[string]any{"parts": parts}), metav1.ApplyOptions{FieldManager: manager}); err != nil {
			return err
		}
	}
	made, err = resource.Get(ctx, "w", metav1.GetOptions{})
	parts, _, _ := unstructured.NestedSlice(made.Object, "spec", "parts")
	if err != nil || len(parts) != 2 {
		return fmt.Errorf("two owners of a list: %v %v", err, parts)
	}
	made.Object["status"] = map[string]any{"phase": "Ready"}
	if made, err = resource.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := equal("generation", made.GetGeneration(), 3); err != nil {
		return err
	}
	_, err = resource.Patch(ctx, "w", types.MergePatchType, []byte(`{"spec":{"size":9}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.size: Invalid value: 9: too big") {
		return fmt.Errorf("a rule: %v", err)
	}
	if err := definitions.Delete(ctx, definition.GetName(), metav1.DeleteOptions{}); err != nil {
		return err
	}
	return until(ctx, "the end of the definition", func() (bool, error) {
		_, err := resource.List(ctx, metav1.ListOptions{})
		return apierrors.IsNotFound(err), nil
	})
}

func pages(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	for i := 0; i < 25; i++ {
		if _, err := maps.Create(ctx, newConfigMap(fmt.Sprintf("page-%02d", i)), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	seen := 0
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		options.LabelSelector = "from=go"
		return maps.List(ctx, options)
	})
	pages.PageSize = 7
	if err := pages.EachListItem(ctx, metav1.ListOptions{}, func(runtime.Object) error { seen++; return nil }); err != nil {
		return err
	}
	list, err := maps.List(ctx, metav1.ListOptions{LabelSelector: "from=go", Limit: 7})
	if err != nil {
		return err
	}
	version := list.ResourceVersion
	if _, err := maps.Create(ctx, newConfigMap("page-99"), metav1.CreateOptions{}); err != nil {
		return err
	}
	// Pages are of one moment: what came after the first is in none of them.
	total := len(list.Items)
	for list.Continue != "" {
		if list, err = maps.List(ctx, metav1.ListOptions{LabelSelector: "from=go", Limit: 7, Continue: list.Continue}); err != nil {
			return err
		}
		if err := equal("version of a page", list.ResourceVersion, version); err != nil {
			return err
		}
		total += len(list.Items)
	}
	_, err = maps.List(ctx, metav1.ListOptions{Continue: "bad", Limit: 7})
	if !apierrors.IsBadRequest(err) {
		return fmt.Errorf("a bad token: %v", err)
	}
	return first(equal("items", seen, 25), equal("items of one moment", total, 25))
}

func retryOnConflict(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Create(ctx, newConfigMap("counter"), metav1.CreateOptions{}); err != nil {
		return err
	}
	const writers, each = 4, 10
	problems := make(chan error, writers)
	var group sync.WaitGroup
	for writer := 0; writer < writers; writer++ {
		group.Go(func() {
			for i := 0; i < each; i++ {
				backoff := retry.DefaultBackoff
				backoff.Steps = 50
				err := retry.RetryOnConflict(backoff, func() error {
					object, err := maps.Get(ctx, "counter", metav1.GetOptions{})
					if err != nil {
						return err
					}
					object.Data["marks"] += "x"
					_, err = maps.Update(ctx, object, metav1.UpdateOptions{})
					return err
				})
				if err != nil {
					problems <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(problems)
	if err := <-problems; err != nil {
		return err
	}
	object, err := maps.Get(ctx, "counter", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return equal("marks", len(object.Data["marks"]), writers*each)
}

func bookmarks(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Create(ctx, newConfigMap("early"), metav1.CreateOptions{}); err != nil {
		return err
	}
	initial := true
	watcher, err := maps.Watch(ctx, metav1.ListOptions{SendInitialEvents: &initial, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true, LabelSelector: "from=go"})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	added := <-watcher.ResultChan()
	mark := <-watcher.ResultChan()
	object, ok := mark.Object.(*corev1.ConfigMap)
	if added.Type != watch.Added || mark.Type != watch.Bookmark || !ok || object.Annotations[metav1.InitialEventsAnnotationKey] != "true" || object.ResourceVersion == "" || object.Name != "" {
		return fmt.Errorf("%s then %s %+v", added.Type, mark.Type, mark.Object)
	}
	// From the bookmark on, a new watch sees what comes after, and nothing before.
	later, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: object.ResourceVersion, LabelSelector: "from=go"})
	if err != nil {
		return err
	}
	defer later.Stop()
	if _, err := maps.Create(ctx, newConfigMap("late"), metav1.CreateOptions{}); err != nil {
		return err
	}
	event := <-later.ResultChan()
	accessor, err := meta.Accessor(event.Object)
	if err != nil {
		return fmt.Errorf("%s %+v", event.Type, event.Object)
	}
	return equal("the next event", accessor.GetName(), "late")
}

func elect(ctx context.Context, w *world) error {
	changes := make(chan string, 16)
	candidate := func(ctx context.Context, name string) {
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: "leader", Namespace: w.namespace}, Client: w.client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: name}},
			LeaseDuration: 2 * time.Second, RenewDeadline: 1500 * time.Millisecond, RetryPeriod: 200 * time.Millisecond, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { changes <- name + " leads" },
				OnStoppedLeading: func() { changes <- name + " ends" },
			},
		})
	}
	one, stop := context.WithCancel(ctx)
	defer stop()
	go candidate(one, "one")
	if err := equal("first", <-changes, "one leads"); err != nil {
		return err
	}
	go candidate(ctx, "two")
	select {
	case change := <-changes:
		return errors.New(change + " beside one")
	case <-time.After(2500 * time.Millisecond):
	}
	stop()
	said := []string{<-changes, <-changes}
	if said[0] != "one ends" && said[1] != "one ends" {
		return fmt.Errorf("after one stopped: %q", said)
	}
	lease, err := w.client.CoordinationV1().Leases(w.namespace).Get(ctx, "leader", metav1.GetOptions{})
	if err != nil {
		return err
	}
	return equal("holder", *lease.Spec.HolderIdentity, "two")
}

func writesWithOptions(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	if _, err := maps.Create(ctx, newConfigMap("dry"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		return err
	}
	if _, err := maps.Get(ctx, "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("a dry run left something: %v", err)
	}
	named, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "some-"}}, metav1.CreateOptions{})
	if err != nil || !strings.HasPrefix(named.Name, "some-") || len(named.Name) != 10 {
		return fmt.Errorf("a generated name: %v %q", err, named.Name)
	}
	body := `{"metadata":{"name":"odd"},"data":{"a":"1"},"dta":{}}`
	err = w.client.CoreV1().RESTClient().Post().Namespace(w.namespace).Resource("configmaps").Param("fieldValidation", "Strict").
		SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(ctx).Error()
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `strict decoding error: unknown field "dta"`) {
		return fmt.Errorf("an unknown field: %v", err)
	}
	wrong := "0"
	err = maps.Delete(ctx, named.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &wrong}})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `on ConfigMap "`+named.Name+`": the ResourceVersion in the precondition (0) does not match the ResourceVersion in record (`+named.ResourceVersion+`). The object might have been modified`) {
		return fmt.Errorf("a precondition: %v", err)
	}
	named.Labels = map[string]string{"bad label": "x"}
	_, err = maps.Update(ctx, named, metav1.UpdateOptions{})
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != 422 || status.Status().Details.Causes[0].Field != "metadata.labels" {
		return fmt.Errorf("causes: %v", err)
	}
	return nil
}
