// Command clients runs programs of unmodified client-go against the cluster of KUBECONFIG, one line a step, so that
// the test beside it can read along. An argument names steps to run, by a regular expression; `--expiry` runs those
// that want a server with little history.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// world is what every step gets: a namespace of its own, and the wire's requests.
type world struct {
	config    *rest.Config
	client    *kubernetes.Clientset
	wire      *recorder
	namespace string
}

type step struct {
	name string
	run  func(context.Context, *world) error
}

func main() {
	steps := slices.Concat(informerSteps, objectSteps, discoverySteps, identitySteps, streamSteps)
	only := regexp.MustCompile("")
	if len(os.Args) > 1 && os.Args[1] == "--expiry" {
		steps = expirySteps
	} else if len(os.Args) > 1 {
		only = regexp.MustCompile(os.Args[1])
	}
	for _, step := range steps {
		if !only.MatchString(step.name) {
			continue
		}
		if err := runStep(step); err != nil {
			fmt.Printf("FAIL %s: %v\n", step.name, err)
			os.Exit(1)
		}
		fmt.Println(step.name)
	}
	fmt.Println("done")
}

func runStep(step step) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	wire := &recorder{}
	config.Wrap(wire.wrap)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.QPS, config.Burst = 500, 500
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespace, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "go-"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	world := &world{config: config, client: client, wire: wire, namespace: namespace.Name}
	// Pods need this account; whoever comes first makes it, this program or the cluster's controller.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := client.CoreV1().ServiceAccounts(namespace.Name).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := step.run(ctx, world); err != nil {
		return err
	}
	return client.CoreV1().Namespaces().Delete(ctx, namespace.Name, metav1.DeleteOptions{})
}

// until asks again until it is so, or says what was waited for.
func until(ctx context.Context, what string, so func() (bool, error)) error {
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return so() })
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

// recorder remembers what goes over the wire: method, path, content type of the body, accepted types.
type recorder struct {
	sync.Mutex
	requests []string
}

func (r *recorder) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		r.Lock()
		r.requests = append(r.requests, fmt.Sprintf("%s %s?%s body=%s accept=%s", request.Method, request.URL.Path, request.URL.RawQuery, request.Header.Get("Content-Type"), request.Header.Get("Accept")))
		r.Unlock()
		return next.RoundTrip(request)
	})
}

// expect fails unless one request has all of these in its line.
func (r *recorder) expect(parts ...string) error {
	r.Lock()
	defer r.Unlock()
	for _, line := range r.requests {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return nil
		}
	}
	return fmt.Errorf("no request has all of %q:\n%s", parts, strings.Join(r.requests, "\n"))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// first is the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func equal[T comparable](what string, got, want T) error {
	if got != want {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}
