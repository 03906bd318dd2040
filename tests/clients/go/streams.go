package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

var streamSteps = []step{
	{"exec by WebSocket and by SPDY", withProgram(execs)},
	{"port-forward by WebSocket and by SPDY", withProgram(forwards)},
	{"logs, followed", withProgram(logs)},
	{"proxy to a pod, eviction", withProgram(proxyAndEvict)},
}

// program counts aloud from when it serves.
const program = `
let n = 0;
const onListen = () => setInterval(() => console.log("line", n++), 100);
Deno.serve({ port: 8080, onListen }, async (request) => new Response("hello " + await request.text()));
`

// withProgram starts a pod that runs a program of ours, for real, and waits until it serves.
func withProgram(run func(context.Context, *world) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		pods := w.client.CoreV1().Pods(w.namespace)
		_, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "program"}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "c", Image: "denoland/deno:2.9.6", Args: []string{"eval", program}}}}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if err := until(ctx, "the pod", func() (bool, error) {
			pod, err := pods.Get(ctx, "program", metav1.GetOptions{})
			if err != nil || pod.Status.Phase != corev1.PodRunning {
				return false, err
			}
			said, err := pods.GetLogs("program", &corev1.PodLogOptions{}).DoRaw(ctx)
			return bytes.Contains(said, []byte("line 0")), err
		}); err != nil {
			return err
		}
		return run(ctx, w)
	}
}

func execs(ctx context.Context, w *world) error {
	script := `const text = await new Response(Deno.stdin.readable).text(); console.log(text.toUpperCase()); console.error("oops"); Deno.exit(3)`
	target := func(command ...string) *url.URL {
		options := &corev1.PodExecOptions{Container: "c", Command: command, Stdin: true, Stdout: true, Stderr: true}
		return w.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(w.namespace).Name("program").SubResource("exec").
			VersionedParams(options, scheme.ParameterCodec).URL()
	}
	place := target("deno", "eval", script)
	ws, err := remotecommand.NewWebSocketExecutor(w.config, "GET", place.String())
	if err != nil {
		return err
	}
	spdyExecutor, err := remotecommand.NewSPDYExecutor(w.config, "POST", place)
	if err != nil {
		return err
	}
	for name, executor := range map[string]remotecommand.Executor{"websocket": ws, "spdy": spdyExecutor} {
		var stdout, stderr bytes.Buffer
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader("shout"), Stdout: &stdout, Stderr: &stderr})
		var exit exec.CodeExitError
		if !errors.As(err, &exit) || exit.Code != 3 {
			return fmt.Errorf("%s: wanted exit code 3, got %v", name, err)
		}
		if err := first(equal(name+" stdout", stdout.String(), "SHOUT\n"), equal(name+" stderr", stderr.String(), "oops\n")); err != nil {
			return err
		}
	}
	missing, err := remotecommand.NewWebSocketExecutor(w.config, "GET", target("nothing-of-that-name").String())
	if err != nil {
		return err
	}
	err = missing.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "executable file not found in $PATH") {
		return fmt.Errorf("a command that is none: %v", err)
	}
	return nil
}

func forwards(ctx context.Context, w *world) error {
	place := w.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(w.namespace).Name("program").SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(w.config)
	if err != nil {
		return err
	}
	overSpdy := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", place)
	overWebSocket, err := portforward.NewSPDYOverWebsocketDialer(place, w.config)
	if err != nil {
		return err
	}
	for i, dialer := range []httpstream.Dialer{overSpdy, overWebSocket} {
		stop, ready := make(chan struct{}), make(chan struct{})
		forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
		if err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- forwarder.ForwardPorts() }()
		select {
		case <-ready:
		case err := <-ended:
			return fmt.Errorf("dialer %d: %w", i, err)
		case <-ctx.Done():
			return ctx.Err()
		}
		ports, err := forwarder.GetPorts()
		if err != nil {
			return err
		}
		for _, text := range []string{"small", strings.Repeat("large", 50_000)} {
			answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/", ports[0].Local), "text/plain", strings.NewReader(text))
			if err != nil {
				return err
			}
			body, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil || string(body) != "hello "+text {
				return fmt.Errorf("dialer %d: %v, %d bytes", i, err, len(body))
			}
		}
		close(stop)
		<-ended
	}
	return nil
}

func logs(ctx context.Context, w *world) error {
	stream, err := w.client.CoreV1().Pods(w.namespace).GetLogs("program", &corev1.PodLogOptions{Follow: true, Timestamps: true}).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	var text strings.Builder
	part := make([]byte, 1024)
	for strings.Count(text.String(), "\n") < 5 {
		n, err := stream.Read(part)
		text.Write(part[:n])
		if err != nil {
			return err
		}
	}
	for i, line := range strings.Split(text.String(), "\n")[:5] {
		stamp, rest, _ := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
			return err
		}
		if err := equal("line", rest, fmt.Sprintf("line %d", i)); err != nil {
			return err
		}
	}
	return nil
}

func proxyAndEvict(ctx context.Context, w *world) error {
	body, err := w.client.CoreV1().RESTClient().Post().Namespace(w.namespace).Resource("pods").Name("program:8080").SubResource("proxy").
		Body([]byte("proxy")).SetHeader("Content-Type", "text/plain").DoRaw(ctx)
	if err != nil || string(body) != "hello proxy" {
		return fmt.Errorf("proxy: %v %q", err, body)
	}
	grace := int64(0)
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "program", Namespace: w.namespace}, DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: &grace}}
	if err := w.client.PolicyV1().Evictions(w.namespace).Evict(ctx, eviction); err != nil {
		return err
	}
	return until(ctx, "the pod's end", func() (bool, error) {
		_, err := w.client.CoreV1().Pods(w.namespace).Get(ctx, "program", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
}
