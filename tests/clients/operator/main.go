// Command operator is a small operator on unmodified controller-runtime, as people write them: it serves web sites
// described by a custom resource of two versions, with webhooks for defaults, validation and conversion. Its suite
// (operator_test.go) runs it by way of envtest, against whatever control plane envtest is told to use.
package main

import (
	"context"
	"flag"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	v1 "plesio.dev/clients/operator/v1"
	"plesio.dev/clients/operator/v1alpha1"
)

const controllerName = "site"

func main() {
	namespace := flag.String("namespace", "default", "where the Lease and the ledger lie")
	certificates := flag.String("webhook-certificates", "", "folder of tls.crt and tls.key; no webhooks without it")
	port := flag.Int("webhook-port", 9443, "where the webhooks listen")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	ctx := ctrl.SetupSignalHandler()
	var server webhook.Server
	if *certificates != "" {
		server = webhook.NewServer(webhook.Options{CertDir: *certificates, Port: *port})
	}
	manager, err := newManager(ctx, ctrl.GetConfigOrDie(), managerOptions{namespace: *namespace, webhooks: server})
	if err == nil {
		err = manager.Start(ctx)
	}
	if err != nil {
		ctrl.Log.Error(err, "the operator ended")
		os.Exit(1)
	}
}

// managerOptions is what differs between an operator in earnest and one in a test.
type managerOptions struct {
	// namespace of the Lease and of the ledger.
	namespace string
	// webhooks serves them; nil: this replica serves none.
	webhooks webhook.Server
	// identity among those who would lead.
	sharedName bool
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return scheme
}

// newManager wires the operator; Start runs it.
func newManager(ctx context.Context, restConfig *rest.Config, options managerOptions) (ctrl.Manager, error) {
	lease, renew, retry := 4*time.Second, 3*time.Second, 500*time.Millisecond
	manager, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        newScheme(),
		Metrics:                       metrics.Options{BindAddress: "0"},
		HealthProbeBindAddress:        "0",
		WebhookServer:                 options.webhooks,
		LeaderElection:                true,
		LeaderElectionID:              "site-operator",
		LeaderElectionNamespace:       options.namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		Controller:                    config.Controller{SkipNameValidation: &options.sharedName},
	})
	if err != nil {
		return nil, err
	}
	reconciler := &siteReconciler{Client: manager.GetClient(), ledgerNamespace: options.namespace, recorder: manager.GetEventRecorder("site-operator")}
	if err := reconciler.register(ctx, manager); err != nil {
		return nil, err
	}
	if options.webhooks == nil {
		return manager, nil
	}
	return manager, registerWebhooks(manager)
}
