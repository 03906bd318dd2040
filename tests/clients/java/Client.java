import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.GenericKubernetesResource;
import io.fabric8.kubernetes.api.model.NamespaceBuilder;
import io.fabric8.kubernetes.api.model.Pod;
import io.fabric8.kubernetes.api.model.PodBuilder;
import io.fabric8.kubernetes.api.model.apiextensions.v1.CustomResourceDefinition;
import io.fabric8.kubernetes.api.model.apps.DeploymentBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.LocalPortForward;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import io.fabric8.kubernetes.client.dsl.ExecWatch;
import io.fabric8.kubernetes.client.dsl.base.PatchContext;
import io.fabric8.kubernetes.client.dsl.base.PatchType;
import io.fabric8.kubernetes.client.dsl.base.ResourceDefinitionContext;
import io.fabric8.kubernetes.client.http.HttpClient;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import io.fabric8.kubernetes.client.jdkhttp.JdkHttpClientFactory;
import io.fabric8.kubernetes.client.vertx5.Vertx5HttpClientFactory;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * fabric8, unmodified, against the cluster of KUBECONFIG, over both of its HTTP clients: watches over WebSocket,
 * informers, server-side apply, custom resources, exec, port-forward. One line a step, read by the test beside it.
 */
public class Client {
  public static void main(String[] args) throws Exception {
    all("jdk", new JdkHttpClientFactory());
    all("vertx", new Vertx5HttpClientFactory());
    System.out.println("done");
    System.exit(0);
  }

  static void all(String name, HttpClient.Factory factory) throws Exception {
    try (KubernetesClient client = new KubernetesClientBuilder().withHttpClientFactory(factory).build()) {
      String namespace = client.namespaces().resource(new NamespaceBuilder().withNewMetadata().withGenerateName("java-").endMetadata().build())
        .create().getMetadata().getName();
      client.serviceAccounts().inNamespace(namespace).withName("default").waitUntilCondition(a -> a != null, 20, TimeUnit.SECONDS);
      objects(client, namespace);
      System.out.println(name + ": objects, conflicts, patches");
      watches(client, namespace);
      System.out.println(name + ": watch and informer");
      apply(client, namespace);
      System.out.println(name + ": server-side apply");
      custom(client, namespace);
      System.out.println(name + ": custom resources");
      deployment(client, namespace);
      System.out.println(name + ": a Deployment becomes ready");
      streams(client, namespace);
      System.out.println(name + ": exec, logs, port-forward");
      client.namespaces().withName(namespace).delete();
    }
  }

  static ConfigMap map(String name) {
    return new ConfigMapBuilder().withNewMetadata().withName(name).addToLabels("by", "java").endMetadata().addToData("a", "1").build();
  }

  static void equal(String what, Object got, Object want) {
    if (!want.equals(got)) throw new AssertionError(what + ": got " + got + ", want " + want);
  }

  static void objects(KubernetesClient client, String namespace) {
    var maps = client.configMaps().inNamespace(namespace);
    ConfigMap made = maps.resource(map("one")).create();
    try {
      maps.resource(map("one")).create();
      throw new AssertionError("made twice");
    } catch (KubernetesClientException e) {
      equal("refusal", e.getCode() + " " + e.getStatus().getReason(), "409 AlreadyExists");
    }
    ConfigMap edited = maps.withName("one").edit(m -> new ConfigMapBuilder(m).addToData("b", "2").build());
    equal("edited by JSON patch", edited.getData(), Map.of("a", "1", "b", "2"));
    edited = maps.withName("one").patch(PatchContext.of(PatchType.STRATEGIC_MERGE), "{\"data\":{\"c\":\"3\"}}");
    equal("strategic merge", edited.getData().size(), 3);
    try {
      maps.resource(made).update();
      throw new AssertionError("an old version was written");
    } catch (KubernetesClientException e) {
      equal("conflict", e.getCode(), 409);
    }
    equal("listed", maps.withLabel("by", "java").list().getItems().size(), 1);
    equal("deleted", maps.withName("one").delete().size(), 1);
    equal("gone", maps.withName("one").get() == null, true);
    if (!client.getKubernetesVersion().getMinor().equals("36")) throw new AssertionError("version");
    if (!client.supports("apps/v1", "Deployment")) throw new AssertionError("discovery");
  }

  static String next(BlockingQueue<String> events) throws InterruptedException {
    String event = events.poll(20, TimeUnit.SECONDS);
    return event == null ? "nothing" : event;
  }

  static void watches(KubernetesClient client, String namespace) throws Exception {
    var maps = client.configMaps().inNamespace(namespace);
    BlockingQueue<String> watched = new LinkedBlockingQueue<>();
    BlockingQueue<String> informed = new LinkedBlockingQueue<>();
    var watch = maps.withLabel("by", "java").watch(new Watcher<ConfigMap>() {
      public void eventReceived(Action action, ConfigMap object) { watched.add(action + " " + object.getMetadata().getName()); }
      public void onClose(WatcherException cause) { watched.add("closed " + cause); }
    });
    var informer = maps.withLabel("by", "java").inform(new ResourceEventHandler<ConfigMap>() {
      public void onAdd(ConfigMap o) { informed.add("add " + o.getMetadata().getName()); }
      public void onUpdate(ConfigMap before, ConfigMap o) { informed.add("update " + o.getData()); }
      public void onDelete(ConfigMap o, boolean unknown) { informed.add("delete " + o.getMetadata().getName()); }
    });
    maps.resource(map("seen")).create();
    equal("watched", next(watched), "ADDED seen");
    equal("informed", next(informed), "add seen");
    maps.withName("seen").edit(m -> new ConfigMapBuilder(m).addToData("a", "2").build());
    equal("watched", next(watched), "MODIFIED seen");
    equal("informed", next(informed), "update {a=2}");
    maps.withName("seen").delete();
    equal("watched", next(watched), "DELETED seen");
    equal("informed", next(informed), "delete seen");
    informer.stop();
    watch.close();
  }

  static void apply(KubernetesClient client, String namespace) {
    var maps = client.configMaps().inNamespace(namespace);
    ConfigMap applied = maps.resource(map("applied")).fieldManager("one").serverSideApply();
    equal("applied", applied.getMetadata().getManagedFields().get(0).getManager(), "one");
    ConfigMap other = new ConfigMapBuilder(map("applied")).addToData("a", "2").build();
    try {
      maps.resource(other).fieldManager("two").serverSideApply();
      throw new AssertionError("no conflict");
    } catch (KubernetesClientException e) {
      if (!e.getMessage().contains("conflict with \"one\": .data.a")) throw e;
    }
    equal("forced", maps.resource(other).fieldManager("two").forceConflicts().serverSideApply().getData().get("a"), "2");
  }

  static void custom(KubernetesClient client, String namespace) {
    String definition = """
      apiVersion: apiextensions.k8s.io/v1
      kind: CustomResourceDefinition
      metadata: {name: gadgets.java.plesio.dev}
      spec:
        group: java.plesio.dev
        scope: Namespaced
        names: {plural: gadgets, singular: gadget, kind: Gadget}
        versions:
        - name: v1
          served: true
          storage: true
          subresources: {status: {}}
          schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
      """;
    var stream = new ByteArrayInputStream(definition.getBytes(StandardCharsets.UTF_8));
    var definitions = client.apiextensions().v1().customResourceDefinitions();
    CustomResourceDefinition made = definitions.load(stream).serverSideApply();
    definitions.resource(made).waitUntilCondition(d -> d != null && d.getStatus() != null && d.getStatus().getConditions() != null && d.getStatus().getConditions().stream()
      .anyMatch(c -> c.getType().equals("Established") && c.getStatus().equals("True")), 20, TimeUnit.SECONDS);
    var context = new ResourceDefinitionContext.Builder().withGroup("java.plesio.dev").withVersion("v1").withKind("Gadget").withPlural("gadgets").withNamespaced(true).build();
    var gadgets = client.genericKubernetesResources(context).inNamespace(namespace);
    GenericKubernetesResource gadget = new GenericKubernetesResource();
    gadget.setApiVersion("java.plesio.dev/v1");
    gadget.setKind("Gadget");
    gadget.setMetadata(map("g").getMetadata());
    gadget.setAdditionalProperty("spec", Map.of("size", 3, "parts", List.of("a")));
    gadgets.resource(gadget).create();
    equal("a custom resource", gadgets.withName("g").get().get("spec", "size"), 3);
    gadget.setAdditionalProperty("status", Map.of("phase", "Ready"));
    gadgets.resource(gadget).patchStatus();
    equal("its status", gadgets.withName("g").get().get("status", "phase"), "Ready");
    definitions.resource(made).delete();
    definitions.resource(made).waitUntilCondition(d -> d == null, 20, TimeUnit.SECONDS);
  }

  static void deployment(KubernetesClient client, String namespace) {
    var deployments = client.apps().deployments().inNamespace(namespace);
    deployments.resource(new DeploymentBuilder().withNewMetadata().withName("web").endMetadata().withNewSpec().withReplicas(2)
      .withNewSelector().addToMatchLabels("app", "web").endSelector()
      .withNewTemplate().withNewMetadata().addToLabels("app", "web").endMetadata()
      .withNewSpec().addNewContainer().withName("c").withImage("nginx:1").endContainer().endSpec().endTemplate().endSpec().build()).create();
    deployments.withName("web").waitUntilReady(30, TimeUnit.SECONDS);
    deployments.withName("web").scale(3);
    deployments.withName("web").waitUntilCondition(d -> d.getStatus().getReadyReplicas() != null && d.getStatus().getReadyReplicas() == 3, 30, TimeUnit.SECONDS);
    deployments.withName("web").delete();
  }

  static void streams(KubernetesClient client, String namespace) throws Exception {
    String program = "console.log('begun'); Deno.serve({ port: 8080 }, () => new Response('hello'))";
    Pod pod = new PodBuilder().withNewMetadata().withName("program").endMetadata().withNewSpec()
      .addNewContainer().withName("c").withImage("denoland/deno:2.9.6").withArgs("eval", program)
      .withNewReadinessProbe().withNewHttpGet().withNewPort(8080).endHttpGet().withPeriodSeconds(1).endReadinessProbe()
      .endContainer().endSpec().build();
    var pods = client.pods().inNamespace(namespace);
    pods.resource(pod).create();
    pods.withName("program").waitUntilReady(30, TimeUnit.SECONDS);
    var out = new ByteArrayOutputStream();
    // What comes first is all: an input's end cannot be told before v5 of the protocol.
    String script = "const b = new Uint8Array(9); const n = await Deno.stdin.read(b); console.log(new TextDecoder().decode(b.subarray(0, n)).toUpperCase()); Deno.exit(3)";
    var in = new ByteArrayInputStream("shout".getBytes(StandardCharsets.UTF_8));
    try (ExecWatch exec = pods.withName("program").readingInput(in).writingOutput(out).exec("deno", "eval", script)) {
      equal("exit code", exec.exitCode().get(20, TimeUnit.SECONDS), 3);
    }
    equal("output", out.toString(StandardCharsets.UTF_8), "SHOUT\n");
    if (!pods.withName("program").getLog().contains("begun")) throw new AssertionError("log");
    try (LocalPortForward forward = pods.withName("program").portForward(8080)) {
      var request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + forward.getLocalPort() + "/")).version(java.net.http.HttpClient.Version.HTTP_1_1).build();
      equal("forwarded", java.net.http.HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body(), "hello");
    }
    pods.withName("program").withGracePeriod(0).delete();
  }
}
