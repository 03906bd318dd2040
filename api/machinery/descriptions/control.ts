/** What the types and fields of admission, reviews, aggregation and flow control mean, in our words. */
import { describedIn } from "./table.ts";

/** Admission webhooks and policies, reviews, APIServices, flow control. */
export const CONTROL = describedIn(`
# APIServiceSpec: Which server answers for a group and version, and where they stand among others.
service: The Service that answers; this server itself if not given.
group: The group.
version: The version.
insecureSkipTLSVerify: Whether any certificate of the Service will do. Not a good idea.
caBundle: Certificates that the Service's own must be signed by.
groupPriorityMinimum: How early the group stands among all; the greatest of its versions counts.
versionPriority: How early the version stands among those of its group.
# APIServiceStatus: Whether it can be had.
# APIServiceCondition: One thing that was observed of an APIService.
# UserInfo: Somebody, as the server knows them.
username: Their name.
uid: What tells them from others who had the name before.
groups: Their groups.
extra: What else is known of them.
# SelfSubjectReviewStatus: Who the asker is.
userInfo: The asker.
# TokenReviewSpec: The token that is asked about.
token: The token.
audiences: Whom the token should be for.
# TokenReviewStatus: Whose the token is.
authenticated: Whether it is good.
user: Whose it is.
audiences: Which of the audiences it is for.
error: Why it could not be checked.
# SubjectAccessReviewSpec: Who wants to do what.
resourceAttributes: What is to be done to a resource.
nonResourceAttributes: What is to be done to a path that is no resource.
user: Their name.
groups: Their groups.
extra: What else is known of them.
uid: Their uid.
# SelfSubjectAccessReviewSpec: What the asker wants to do.
resourceAttributes: What is to be done to a resource.
nonResourceAttributes: What is to be done to a path that is no resource.
# ResourceAttributes: Something that is done to a resource.
namespace: Where; everywhere if it is empty.
verb: What is done: get, list, watch, create, update, patch, delete and others.
group: The resource's group; * for all.
version: The resource's version; * for all.
resource: The resource; * for all.
subresource: The subresource.
name: The object; all of them if it is empty.
fieldSelector: The fields that a request is narrowed to.
labelSelector: The labels that a request is narrowed to.
# FieldSelectorAttributes: The fields that a request is narrowed to.
rawSelector: The selector as text; read by nobody but authorizers that must.
requirements: The selector's parts; all must hold.
# LabelSelectorAttributes: The labels that a request is narrowed to.
rawSelector: The selector as text; read by nobody but authorizers that must.
requirements: The selector's parts; all must hold.
# FieldSelectorRequirement: A condition on a field.
key: The field.
operator: In, NotIn, Exists or DoesNotExist.
values: What In and NotIn compare with.
# NonResourceAttributes: Something that is done to a path.
path: The path.
verb: What is done, as HTTP calls it, in small letters.
# SubjectAccessReviewStatus: Whether it is allowed.
allowed: Whether it is.
denied: Whether it is refused for good, whatever others say.
evaluationError: What went wrong while it was looked at.
# SelfSubjectRulesReviewSpec: Where the asker wants to know it.
namespace: The namespace.
# SubjectRulesReviewStatus: What the asker may do.
resourceRules: What may be done to resources.
nonResourceRules: What may be done to paths.
incomplete: Whether there may be more.
evaluationError: What went wrong while it was looked at.
# ResourceRule: Something that may be done to resources.
verbs: What; * for everything.
apiGroups: The groups.
resources: The resources.
resourceNames: The objects, if not all.
# NonResourceRule: Something that may be done to paths.
verbs: What; * for everything.
nonResourceURLs: The paths.
# CertificateSigningRequestSpec: What certificate is asked for, and by whom.
request: The request itself, as PEM.
signerName: Who is to sign it.
expirationSeconds: How long it is to be good; signers may give less.
usages: What its key may be used for.
username: Who asks. Set by the server.
uid: Their uid. Set by the server.
groups: Their groups. Set by the server.
extra: What else is known of them. Set by the server.
# CertificateSigningRequestStatus: What became of a request.
certificate: The certificate, as PEM, once it is signed.
# CertificateSigningRequestCondition: That it was approved, denied or has failed.
# MutatingWebhookConfiguration, ValidatingWebhookConfiguration
webhooks: The webhooks, in order.
# MutatingWebhook: A service that may change objects as they are written.
reinvocationPolicy: Whether it is asked again when others have changed the object since: Never or IfNeeded.
# ValidatingWebhook: A service that may refuse objects as they are written.
# MutatingWebhook, ValidatingWebhook
name: Its name, a domain of three parts or more.
clientConfig: Where it is reached.
rules: The writes it is asked about.
failurePolicy: What a call that fails means: Fail refuses the write, Ignore lets it pass.
matchPolicy: Whether it is asked about other versions of its resources too: Equivalent or Exact.
objectSelector: The objects it is asked about, by their labels.
sideEffects: Whether a call changes anything elsewhere: None, or NoneOnDryRun.
timeoutSeconds: How long a call may take, 1 to 30.
admissionReviewVersions: The versions of AdmissionReview that it speaks, the best first.
matchConditions: Further conditions, in CEL; all must hold.
# RuleWithOperations: Some writes.
# NamedRuleWithOperations: Some writes, perhaps of some objects alone.
resourceNames: The objects, if not all.
# RuleWithOperations, NamedRuleWithOperations
operations: CREATE, UPDATE, DELETE, CONNECT or *.
apiGroups: The groups; * for all.
apiVersions: The versions; * for all.
resources: The resources, subresources after a slash; * for all.
scope: Cluster, Namespaced or *.
# MatchCondition: A condition, in CEL.
name: Its name.
expression: The expression; it must be true.
# ValidatingAdmissionPolicySpec: Expressions that refuse objects as they are written.
validations: What must hold.
auditAnnotations: What is told to the audit.
# MutatingAdmissionPolicySpec: Expressions that change objects as they are written.
mutations: The changes, in order.
reinvocationPolicy: Whether they are made again when others have changed the object since: Never or IfNeeded.
# ValidatingAdmissionPolicySpec, MutatingAdmissionPolicySpec
paramKind: The kind of the objects that hold parameters.
matchConstraints: The writes it is about.
variables: Values that expressions may use by name.
failurePolicy: What an expression that fails means: Fail refuses the write, Ignore lets it pass.
matchConditions: Further conditions; all must hold.
# ParamKind: The kind of the objects that hold parameters.
# MatchResources: Some writes.
objectSelector: The objects, by their labels.
resourceRules: The writes; one rule that fits is enough.
excludeResourceRules: Writes that do not count.
matchPolicy: Whether other versions of the resources count too: Equivalent or Exact.
# Variable: A value with a name.
name: Its name, as in variables.name.
expression: What makes the value.
# Validation: Something that must hold.
expression: What must be true.
messageExpression: An expression that makes the message.
# AuditAnnotation: Something that is told to the audit.
key: The annotation's key, after the policy's name.
valueExpression: What makes its value; null leaves it out.
# Mutation: A change. One of these is set, as patchType says.
patchType: ApplyConfiguration or JSONPatch.
applyConfiguration: The change as an object to be applied.
jsonPatch: The change as a list of operations.
# ApplyConfiguration: A change as an object to be applied.
expression: What makes the object.
# JSONPatch: A change as a list of operations.
expression: What makes the list.
# ValidatingAdmissionPolicyStatus: How a policy fares.
typeChecking: What is wrong with its expressions.
# TypeChecking: What is wrong with expressions.
expressionWarnings: One entry for each.
# ExpressionWarning: What is wrong with an expression.
fieldRef: Where the expression is.
warning: What is wrong.
# ValidatingAdmissionPolicyBindingSpec: Where a policy applies, and what it does.
validationActions: What it does when something does not hold: Deny, Warn or Audit.
# MutatingAdmissionPolicyBindingSpec: Where a policy applies.
# ValidatingAdmissionPolicyBindingSpec, MutatingAdmissionPolicyBindingSpec
policyName: The policy.
paramRef: The objects with its parameters.
matchResources: Narrows the writes down further.
# ParamRef: Objects that hold parameters.
name: One object, by name.
namespace: Where it is; the namespace of what is written if not given.
selector: Several objects, by their labels.
parameterNotFoundAction: What it means that there are none: Allow or Deny.
# FlowSchemaSpec: Which requests belong together.
priorityLevelConfiguration: The level that they are served at.
matchingPrecedence: Of several that fit, the smallest counts.
distinguisherMethod: What keeps the requests apart from each other.
rules: Which requests; one that fits is enough.
# FlowSchemaStatus: How a FlowSchema fares.
# FlowSchemaCondition: One thing that was observed of a FlowSchema.
# PriorityLevelConfigurationReference: A priority level.
name: Its name.
# FlowDistinguisherMethod: What keeps requests apart from each other.
type: ByUser or ByNamespace.
# PolicyRulesWithSubjects: Some requests of some people.
subjects: Who.
resourceRules: What they do to resources.
nonResourceRules: What they do to paths.
# Subject
user: A user, or everybody.
group: A group.
serviceAccount: A ServiceAccount.
# UserSubject: A user.
name: Their name; * for everybody.
# GroupSubject: A group.
name: Its name; * for all.
# ServiceAccountSubject: A ServiceAccount.
namespace: Its namespace.
name: Its name; * for all of the namespace.
# ResourcePolicyRule: Some requests for resources.
verbs: What is done; * for everything.
apiGroups: The groups; * for all.
resources: The resources; * for all.
clusterScope: Whether requests without a namespace count.
namespaces: The namespaces; * for all.
# NonResourcePolicyRule: Some requests for paths.
verbs: What is done; * for everything.
nonResourceURLs: The paths; * for all.
# PriorityLevelConfigurationSpec: How many requests of a level run at once.
type: Limited, or Exempt: they never wait.
limited: The limits, for type Limited.
exempt: What it may lend, for type Exempt.
# PriorityLevelConfigurationStatus: How a level fares.
# PriorityLevelConfigurationCondition: One thing that was observed of a level.
# LimitedPriorityLevelConfiguration: The limits of a level.
limitResponse: What becomes of requests that cannot run at once.
borrowingLimitPercent: How much it may borrow of other levels at most.
# ExemptPriorityLevelConfiguration: What a level without limits may lend.
# LimitedPriorityLevelConfiguration, ExemptPriorityLevelConfiguration
nominalConcurrencyShares: Its share of the server's seats.
lendablePercent: How much of its seats other levels may borrow.
# LimitResponse: What becomes of requests that cannot run at once.
type: Queue, or Reject.
queuing: How they wait, for type Queue.
# QueuingConfiguration: How requests wait.
queues: How many queues there are.
handSize: How many queues one flow may be put into.
queueLengthLimit: How many requests one queue holds.
`);
