// Command collector is OpenTelemetry's collector, made of its own parts as people put theirs together: the OTLP
// receiver, by gRPC and by HTTP, a processor that gathers batches, and an exporter of ours that writes what has come
// through as lines of OTLP's JSON. It ends when it is told to, or when its standard input is closed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

const configuration = `yaml:
receivers:
  otlp: { protocols: { grpc: { endpoint: "%s" }, http: { endpoint: "%s" } } }
processors:
  batch: { timeout: 100ms }
exporters:
  lines: {}
service:
  telemetry: { metrics: { level: none }, logs: { level: warn } }
  pipelines:
    traces: { receivers: [otlp], processors: [batch], exporters: [lines] }
    metrics: { receivers: [otlp], processors: [batch], exporters: [lines] }
`

func main() {
	grpc := flag.String("grpc", "127.0.0.1:4317", "where it listens for OTLP by gRPC")
	http := flag.String("http", "127.0.0.1:4318", "where it listens for OTLP by HTTP")
	flag.Parse()
	collector, err := otelcol.NewCollector(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "1"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			URIs:              []string{fmt.Sprintf(configuration, *grpc, *http)},
			ProviderFactories: []confmap.ProviderFactory{yamlprovider.NewFactory()},
		}},
	})
	if err == nil {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			collector.Shutdown()
		}()
		err = collector.Run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func factories() (made otelcol.Factories, err error) {
	made.Telemetry = otelconftelemetry.NewFactory()
	if made.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory()); err != nil {
		return made, err
	}
	if made.Processors, err = otelcol.MakeFactoryMap[processor.Factory](batchprocessor.NewFactory()); err != nil {
		return made, err
	}
	made.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](linesFactory())
	return made, err
}

// lines writes one message a line to the standard output.
type lines struct{ sync.Mutex }

func (l *lines) write(message []byte, err error) error {
	if err != nil {
		return err
	}
	l.Lock()
	defer l.Unlock()
	_, err = os.Stdout.Write(append(message, '\n'))
	return err
}

func (l *lines) traces(_ context.Context, spans ptrace.Traces) error {
	return l.write((&ptrace.JSONMarshaler{}).MarshalTraces(spans))
}

func (l *lines) metrics(_ context.Context, metrics pmetric.Metrics) error {
	return l.write((&pmetric.JSONMarshaler{}).MarshalMetrics(metrics))
}

func linesFactory() exporter.Factory {
	out := &lines{}
	unchanged := exporterhelper.WithCapabilities(consumer.Capabilities{MutatesData: false})
	return exporter.NewFactory(
		component.MustNewType("lines"),
		func() component.Config { return &struct{}{} },
		exporter.WithTraces(func(ctx context.Context, set exporter.Settings, config component.Config) (exporter.Traces, error) {
			return exporterhelper.NewTraces(ctx, set, config, out.traces, unchanged)
		}, component.StabilityLevelDevelopment),
		exporter.WithMetrics(func(ctx context.Context, set exporter.Settings, config component.Config) (exporter.Metrics, error) {
			return exporterhelper.NewMetrics(ctx, set, config, out.metrics, unchanged)
		}, component.StabilityLevelDevelopment),
	)
}
