package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/features"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	watchtools "k8s.io/client-go/tools/watch"
)

// expirySteps want a server that keeps little history: what a client was away for must be gone within seconds.
var expirySteps = []step{
	{"an informer by LIST and WATCH lists again after 410", func(ctx context.Context, w *world) error {
		return relisted(ctx, w, false, "/configmaps?resourceVersion=%s ")
	}},
	{"an informer by WatchList streams again after 410", func(ctx context.Context, w *world) error {
		return relisted(ctx, w, true, "resourceVersion=%s&resourceVersionMatch=NotOlderThan&sendInitialEvents=true")
	}},
	{"a retry watcher ends with 410", retryWatcherExpires},
	{"a pager whose token has expired reads the whole list", pagerExpires},
}

// gate breaks watches off, and lets none begin until it is opened again.
type gate struct {
	sync.Mutex
	shut   chan struct{}
	bodies []io.Closer
}

func (g *gate) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if !strings.Contains(request.URL.RawQuery, "watch=true") {
			return next.RoundTrip(request)
		}
		g.Lock()
		shut := g.shut
		g.Unlock()
		if shut != nil {
			<-shut
		}
		response, err := next.RoundTrip(request)
		if err == nil {
			g.Lock()
			g.bodies = append(g.bodies, response.Body)
			g.Unlock()
		}
		return response, err
	})
}

func (g *gate) held() int {
	g.Lock()
	defer g.Unlock()
	return len(g.bodies)
}

func (g *gate) close() {
	g.Lock()
	defer g.Unlock()
	g.shut = make(chan struct{})
	for _, body := range g.bodies {
		_ = body.Close()
	}
	g.bodies = nil
}

func (g *gate) open() {
	g.Lock()
	defer g.Unlock()
	close(g.shut)
	g.shut = nil
}

// forget writes until the server has no history left at a version.
func forget(ctx context.Context, w *world, version string) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	large := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "large"}, BinaryData: map[string][]byte{"d": make([]byte, 400_000)}}
	if _, err := maps.Create(ctx, large, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return until(ctx, "history to be gone", func() (bool, error) {
		if _, err := rand.Read(large.BinaryData["d"]); err != nil {
			return false, err
		}
		if _, err := maps.Update(ctx, large, metav1.UpdateOptions{}); err != nil {
			return false, err
		}
		watcher, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: version})
		if err != nil {
			return false, err
		}
		defer watcher.Stop()
		event := <-watcher.ResultChan()
		return event.Type == watch.Error && apierrors.IsResourceExpired(apierrors.FromObject(event.Object)), nil
	})
}

// relisted is an informer that was away for longer than history lasts: it must end up with the state, by one more list.
func relisted(ctx context.Context, w *world, watchList bool, again string) error {
	features.ReplaceFeatureGates(gates{watchList})
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	for _, name := range []string{"kept", "changed", "doomed"} {
		if _, err := maps.Create(ctx, newConfigMap(name), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	config := rest.CopyConfig(w.config)
	door := &gate{}
	config.Wrap(door.wrap)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	seen := &counts{}
	informer := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(w.namespace)).Core().V1().ConfigMaps().Informer()
	if _, err := informer.AddEventHandler(seen.handler()); err != nil {
		return err
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("the cache did not sync")
	}
	if err := seen.reach(ctx, 3, 0, 0); err != nil {
		return err
	}
	// A watch that has not begun would only wait at the door.
	if err := until(ctx, "the informer's watch", func() (bool, error) { return door.held() > 0, nil }); err != nil {
		return err
	}
	version := informer.LastSyncResourceVersion()
	door.close()
	changed := newConfigMap("changed")
	changed.Data["n"] = "while away"
	_, err = maps.Update(ctx, changed, metav1.UpdateOptions{})
	_, created := maps.Create(ctx, newConfigMap("new"), metav1.CreateOptions{})
	deleted := maps.Delete(ctx, "doomed", metav1.DeleteOptions{})
	if err := first(err, created, deleted, forget(ctx, w, version)); err != nil {
		return err
	}
	door.open()
	// What came, went and changed meanwhile is told by the difference of two lists; what stayed is told as an update.
	if err := seen.reach(ctx, 4, 2, 1); err != nil {
		return err
	}
	object, exists, err := informer.GetStore().GetByKey(w.namespace + "/changed")
	if err != nil || !exists || object.(*corev1.ConfigMap).Data["n"] != "while away" {
		return fmt.Errorf("after the second list: %v %v %v", object, exists, err)
	}
	if _, err := maps.Create(ctx, newConfigMap("later"), metav1.CreateOptions{}); err != nil {
		return err
	}
	return first(seen.reach(ctx, 5, 2, 1), w.wire.expect("GET", fmt.Sprintf(again, version)))
}

func retryWatcherExpires(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	made, err := maps.Create(ctx, newConfigMap("old"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	if err := forget(ctx, w, made.ResourceVersion); err != nil {
		return err
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, made.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return maps.Watch(ctx, options)
		},
	})
	if err != nil {
		return err
	}
	select {
	case event := <-watcher.ResultChan():
		status := apierrors.FromObject(event.Object)
		if event.Type != watch.Error || !apierrors.IsResourceExpired(status) || !strings.HasPrefix(status.Error(), "too old resource version: "+made.ResourceVersion+" (") {
			return fmt.Errorf("wanted 410, got %s %v", event.Type, status)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	<-watcher.Done()
	return nil
}

func pagerExpires(ctx context.Context, w *world) error {
	maps := w.client.CoreV1().ConfigMaps(w.namespace)
	for i := 0; i < 4; i++ {
		if _, err := maps.Create(ctx, newConfigMap(fmt.Sprintf("page-%d", i)), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	var asked strings.Builder
	version := ""
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		if options.Continue != "" {
			if err := forget(ctx, w, version); err != nil {
				return nil, err
			}
		}
		list, err := maps.List(ctx, options)
		version = list.ResourceVersion
		fmt.Fprintf(&asked, "limit %d, continue %t, expired %t\n", options.Limit, options.Continue != "", apierrors.IsResourceExpired(err))
		return list, err
	})
	pages.PageSize = 2
	_, _, err := pages.ListWithAlloc(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	return equal("pages", asked.String(), "limit 2, continue false, expired false\nlimit 2, continue true, expired true\nlimit 0, continue false, expired false\n")
}
