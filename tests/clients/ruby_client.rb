# Ruby's kubeclient, unmodified, against the cluster of KUBECONFIG; one line a step, read by the test beside it.
require "kubeclient"

config = Kubeclient::Config.read(ENV.fetch("KUBECONFIG"))
context = config.context
options = { ssl_options: context.ssl_options, auth_options: context.auth_options }
core = Kubeclient::Client.new(context.api_endpoint, "v1", **options)
apps = Kubeclient::Client.new("#{context.api_endpoint}/apis/apps", "v1", **options)

def check(what, got, want)
  raise "#{what}: got #{got.inspect}, want #{want.inspect}" unless got == want
end

def eventually(seconds = 30)
  deadline = Time.now + seconds
  loop do
    found = yield
    return found if found
    raise "not in time" if Time.now > deadline
    sleep 0.05
  end
end

ns = "ruby"
core.create_namespace(Kubeclient::Resource.new(metadata: { name: ns }))

map = Kubeclient::Resource.new(metadata: { name: "one", namespace: ns, labels: { by: "ruby" } }, data: { a: "1" })
made = core.create_config_map(map)
made.data[:b] = "2"
made = core.update_config_map(made)
check("merge", core.merge_patch_config_map("one", { data: { c: "3" } }, ns).data.to_h.size, 3)
check("strategic", core.patch_config_map("one", { data: { d: "4" } }, ns).data.to_h.size, 4)
check("json", core.json_patch_config_map("one", [{ op: "remove", path: "/data/d" }], ns).data.to_h.size, 3)
begin
  core.update_config_map(made)
  raise "an old version was written"
rescue Kubeclient::HttpError => e
  check("conflict", e.error_code, 409)
end
begin
  core.get_config_map("nobody", ns)
  raise "nobody is there"
rescue Kubeclient::ResourceNotFoundError => e
  check("message", e.message, 'configmaps "nobody" not found')
end
puts "objects, patches, errors"

first = core.get_config_maps(namespace: "kube-system", limit: 1)
check("a page", [first.size, first.last?], [1, first.continue.nil?])
puts "lists and pages"

list = core.get_config_maps(namespace: ns)
seen = []
watcher = core.watch_config_maps(namespace: ns, label_selector: "by=ruby", resource_version: list.resourceVersion)
thread = Thread.new do
  watcher.each do |notice|
    seen << notice.type
    watcher.finish if seen.size == 2
  end
end
sleep 0.3
core.patch_config_map("one", { data: { e: "5" } }, ns)
core.delete_config_map("one", ns)
eventually { seen.size == 2 }
check("events", seen, %w[MODIFIED DELETED])
thread.kill
puts "watch"

template = { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "nginx:1" }] } }
apps.create_deployment(Kubeclient::Resource.new(metadata: { name: "web", namespace: ns },
                                                spec: { replicas: 2, selector: { matchLabels: { app: "web" } }, template: template }))
eventually { apps.get_deployment("web", ns).status[:readyReplicas] == 2 }
check("pods", core.get_pods(namespace: ns, label_selector: "app=web").size, 2)
apps.delete_deployment("web", ns)
puts "a Deployment becomes ready"
