import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** A test of a Deployment with Java's own HTTP client: {@code KUBECONFIG=… java Example.java}. */
class Example {
  static final String APPS = "/apis/apps/v1/namespaces/default/deployments";
  static final String WEB = """
    {"metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
     "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}}""";

  public static void main(String[] args) throws Exception {
    Plesio cluster = new Plesio(Files.readString(Path.of(System.getenv("KUBECONFIG"))), "java-example/1");
    cluster.kit("POST", "reset", "");
    cluster.ask("POST", APPS, WEB, 201);
    cluster.kit("POST", "settle", "{\"within\": \"10s\"}");
    expect(cluster.ask("GET", APPS + "/web", "", 200), "\"readyReplicas\": *3");
    System.out.println("settle");

    expect(cluster.kit("POST", "clock", "{\"advance\": \"1h30m\"}"), "\"advanced\": *\"1h30m0s\"");
    cluster.kit("POST", "clock", """
      {"until": {"path": "%s/web", "cel": "object.status.readyReplicas == 3"}}""".formatted(APPS));
    System.out.println("clock");

    cluster.ask("POST", "/plesio/v1/forks", "{\"name\": \"java\"}", 201);
    Plesio fork = cluster.under("/plesio/v1/forks/java");
    fork.ask("DELETE", APPS + "/web", "", 200);
    fork.kit("POST", "settle", "");
    expect(fork.ask("GET", APPS, "", 200), "\"items\": *\\[\\]");
    cluster.ask("GET", APPS + "/web", "", 200);
    cluster.kit("DELETE", "forks/java", "");
    System.out.println("fork");

    cluster.ask("POST", "/plesio/v1/faults", """
      {"name": "busy", "client": "java-example", "verb": "get", "times": 1, "status": 503}""", 201);
    cluster.ask("GET", APPS + "/web", "", 503);
    cluster.ask("GET", APPS + "/web", "", 200);
    expect(cluster.kit("GET", "faults/busy", ""), "\"struck\": *1");
    System.out.println("faults");

    String mine = "{\"client\": \"java-example\"}";
    cluster.kit("POST", "ledger/check", mine);
    for (int i = 0; i < 20; i++) cluster.ask("GET", APPS + "/web", "", 200);
    expect(cluster.ask("POST", "/plesio/v1/ledger/check", mine, 409), "asked the same again and again");
    System.out.println("ledger");

    cluster.kit("POST", "reset", "");
    expect(cluster.ask("GET", APPS, "", 200), "\"items\": *\\[\\]");
    System.out.println("reset");
  }

  static void expect(String text, String pattern) {
    if (!Pattern.compile(pattern).matcher(text).find()) throw new AssertionError(pattern + " is not in " + text);
  }

  /** A cluster, or a fork of one. */
  record Plesio(HttpClient client, String server, String agent) {
    Plesio(String kubeconfig, String agent) throws Exception {
      this(clientOf(kubeconfig), field(kubeconfig, "server"), agent);
    }

    Plesio under(String path) {
      return new Plesio(client, server + path, agent);
    }

    String kit(String method, String path, String body) throws Exception {
      return ask(method, "/plesio/v1/" + path, body, 200);
    }

    String ask(String method, String path, String body, int wanted) throws Exception {
      HttpRequest request = HttpRequest.newBuilder(URI.create(server + path)).header("user-agent", agent)
        .header("content-type", "application/json").method(method, BodyPublishers.ofString(body)).build();
      HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
      if (answer.statusCode() == wanted) return answer.body();
      throw new AssertionError(method + " " + path + ": " + answer.statusCode() + " " + answer.body());
    }

    static String field(String kubeconfig, String name) {
      var found = Pattern.compile("\\b" + name + ": *[\"']?([^\"'\\s]+)").matcher(kubeconfig);
      if (found.find()) return found.group(1);
      throw new IllegalArgumentException("the kubeconfig has no " + name);
    }

    static byte[] bytes(String kubeconfig, String name) {
      return Base64.getDecoder().decode(field(kubeconfig, name));
    }

    /** A key as kubeconfigs have it (SEC 1, P-256), in the wrapping that Java wants (PKCS #8). */
    static PKCS8EncodedKeySpec wrapped(byte[] key) {
      byte[] head = HexFormat.of().parseHex("308100020100301306072a8648ce3d020106082a8648ce3d0301070400");
      head[2] = (byte) (head.length - 3 + key.length);
      head[head.length - 1] = (byte) key.length;
      byte[] whole = Arrays.copyOf(head, head.length + key.length);
      System.arraycopy(key, 0, whole, head.length, key.length);
      return new PKCS8EncodedKeySpec(whole);
    }

    static HttpClient clientOf(String kubeconfig) throws Exception {
      CertificateFactory certificates = CertificateFactory.getInstance("X.509");
      String pem = new String(bytes(kubeconfig, "client-key-data")).replaceAll("-----[^-]+-----|\\s", "");
      var key = KeyFactory.getInstance("EC").generatePrivate(wrapped(Base64.getDecoder().decode(pem)));
      KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
      store.load(null, null);
      var own = new ByteArrayInputStream(bytes(kubeconfig, "client-certificate-data"));
      store.setKeyEntry("me", key, new char[0], certificates.generateCertificates(own).toArray(Certificate[]::new));
      var authority = new ByteArrayInputStream(bytes(kubeconfig, "certificate-authority-data"));
      store.setCertificateEntry("ca", certificates.generateCertificate(authority));
      KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
      keys.init(store, new char[0]);
      TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      trust.init(store);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
      return HttpClient.newBuilder().sslContext(context).build();
    }
  }
}
