// Package plesiotest is what tests do with a Plesio beside speaking Kubernetes: `deno task start --test-kit`.
package plesiotest

import (
	"context"
	"encoding/json"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is a cluster, or a fork of one. What goes wrong in asking for something ends the test.
type Cluster struct {
	t      testing.TB
	Config *rest.Config
	*kubernetes.Clientset
}

// Condition is so when CEL, of `object`, says it of what lies under Path.
type Condition struct {
	Path   string `json:"path"`
	CEL    string `json:"cel"`
	Within string `json:"within,omitempty"`
}

// New is the cluster of a kubeconfig, as it was at its start.
func New(t testing.TB, kubeconfig, agent string) *Cluster {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.UserAgent = agent
	cluster := connect(t, config)
	cluster.Reset()
	return cluster
}

func connect(t testing.TB, config *rest.Config) *Cluster {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &Cluster{t, config, client}
}

// Ask is a request to /plesio/v1/; the answer goes into `into`, unless that is nil.
func (c *Cluster) Ask(verb, path string, body, into any) error {
	request := c.RESTClient().Verb(verb).AbsPath("/plesio/v1/" + path)
	if body != nil {
		bytes, err := json.Marshal(body)
		if err != nil {
			return err
		}
		request.SetHeader("content-type", "application/json").Body(bytes)
	}
	result := request.Do(context.Background())
	if err := result.Error(); err != nil || into == nil {
		return err
	}
	bytes, err := result.Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(bytes, into)
}

func (c *Cluster) must(verb, path string, body, into any) {
	c.t.Helper()
	if err := c.Ask(verb, path, body, into); err != nil {
		c.t.Fatalf("%s %s: %v", verb, path, err)
	}
}

// Advance lets time go on by a duration such as 1h30m.
func (c *Cluster) Advance(by string) { c.must("POST", "clock", map[string]any{"advance": by}, nil) }

// Until lets time go on until something is so.
func (c *Cluster) Until(condition Condition) {
	c.must("POST", "clock", map[string]any{"until": condition}, nil)
}

// Settle waits until nobody has anything to do.
func (c *Cluster) Settle() { c.must("POST", "settle", nil, nil) }

// Reset brings back the start.
func (c *Cluster) Reset() { c.must("POST", "reset", nil, nil) }

// Fault is what is to go wrong, until the test is over.
func (c *Cluster) Fault(name string, fault map[string]any) {
	fault["name"] = name
	c.must("POST", "faults", fault, nil)
	c.t.Cleanup(func() { _ = c.Ask("DELETE", "faults/"+name, nil, nil) })
}

// Struck is how often a fault did.
func (c *Cluster) Struck(name string) (struck int) {
	var fault struct{ Struck int }
	c.must("GET", "faults/"+name, nil, &fault)
	return fault.Struck
}

// Check is nil unless a client did what it should not have done.
func (c *Cluster) Check(client string) error {
	return c.Ask("POST", "ledger/check", map[string]any{"client": client}, nil)
}

// Fork is a cluster of its own for a test: it begins where this one is, and is gone afterwards.
func (c *Cluster) Fork(t testing.TB) *Cluster {
	var made struct{ Name, Path string }
	c.must("POST", "forks", map[string]any{}, &made)
	t.Cleanup(func() { _ = c.Ask("DELETE", "forks/"+made.Name, nil, nil) })
	config := rest.CopyConfig(c.Config)
	config.Host += made.Path
	return connect(t, config)
}
