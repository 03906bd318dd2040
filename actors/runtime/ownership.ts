/**
 * Owners and children: who controls an object, which children a controller may count as its own, and
 * how it adopts and releases them. Semantics of upstream's controller_ref_manager.
 *
 * Children are found by two indexes of their informer, never by a scan: by the uid of their controller,
 * and, for those without one, by namespace.
 */
import type { Client, Informer } from "../../api/client/contract.ts";
import type { Selector } from "../../api/machinery/selectors.ts";
import type {
  DeepReadonly,
  KubeObject,
  OwnerReference,
  ResourceId,
} from "../../api/machinery/types.ts";

type Readonly = DeepReadonly<KubeObject>;

const BY_CONTROLLER = "controllerUid";
const ORPHANS = "orphansOfNamespace";

/** The reference to the one controller of an object. */
export function controllerOf(object: Readonly): DeepReadonly<OwnerReference> | undefined {
  const references = object.metadata.ownerReferences;
  if (references === undefined) return undefined;
  for (const reference of references) if (reference.controller) return reference;
  return undefined;
}

/** The reference by which `owner` controls a child. */
export function controllerReference(owner: Readonly): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Adds the indexes that `childrenOf` and `claim` look in. */
export function indexOwnership(informer: Informer): void {
  informer.index(BY_CONTROLLER, (object) => {
    const owner = controllerOf(object);
    return owner ? [owner.uid] : [];
  });
  informer.index(ORPHANS, (object) => controllerOf(object) ? [] : [object.metadata.namespace!]);
}

/** The objects whose controller has this uid. */
export function childrenOf(informer: Informer, uid: string): readonly Readonly[] {
  return informer.byIndex(BY_CONTROLLER, uid);
}

/** The objects of a namespace that have no controller. */
export function orphansIn(informer: Informer, namespace: string): readonly Readonly[] {
  return informer.byIndex(ORPHANS, namespace);
}

/** What `claim` needs. */
export interface ClaimOptions {
  client: Client;
  /** The cache of the children, indexed by `indexOwnership`. */
  children: Informer;
  owner: Readonly;
  /** The owner's resource, to look at it once more before anything is adopted. */
  resource: ResourceId;
  selector: Selector;
  /** A further test of children, such as a name's form. */
  fits?(child: Readonly): boolean;
}

/**
 * The children of an owner: those it controls and selects. Orphans that it selects are adopted, and those
 * it controls but no longer selects are released; neither happens while the owner is being deleted.
 */
export async function claim(options: ClaimOptions): Promise<Readonly[]> {
  const { children, owner, selector, fits } = options;
  const { namespace, uid, deletionTimestamp } = owner.metadata;
  const matches = (child: Readonly) =>
    selector.matches(child.metadata.labels) && (!fits || fits(child));
  const claimed: Readonly[] = [];
  const released: Readonly[] = [];
  for (const child of childrenOf(children, uid)) {
    (matches(child) ? claimed : released).push(child);
  }
  if (deletionTimestamp) return claimed;
  for (const child of released) await release(options, child);
  let checked = false;
  for (const orphan of orphansIn(children, namespace!)) {
    if (orphan.metadata.deletionTimestamp || !matches(orphan)) continue;
    if (!checked) await checkOwner(options);
    checked = true;
    const adopted = await adopt(options, orphan);
    if (adopted) claimed.push(adopted);
  }
  return claimed;
}

/** Throws unless the owner still is who the cache says: the cache may be behind a recreation. */
async function checkOwner({ client, owner, resource }: ClaimOptions): Promise<void> {
  const { namespace, name, uid } = owner.metadata;
  const fresh = await client.get({ resource, namespace, name });
  if (fresh.metadata.uid !== uid) {
    throw new Error(
      `original ${owner.kind} ${namespace}/${name} is gone: ` +
        `got uid ${fresh.metadata.uid}, wanted ${uid}`,
    );
  }
  if (fresh.metadata.deletionTimestamp) {
    throw new Error(
      `${namespace}/${name} has just been deleted at ${fresh.metadata.deletionTimestamp}`,
    );
  }
}

async function adopt(
  { client, children, owner }: ClaimOptions,
  orphan: Readonly,
): Promise<Readonly | undefined> {
  const { namespace, name, uid } = orphan.metadata;
  const reference = controllerReference(owner) as unknown as Record<string, string>;
  try {
    return await client.patch<KubeObject>({ resource: children.resource, namespace, name }, {
      type: "strategic",
      body: { metadata: { uid, ownerReferences: [reference] } },
    });
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

async function release({ client, children, owner }: ClaimOptions, child: Readonly): Promise<void> {
  const { namespace, name, uid } = child.metadata;
  const reference = { $patch: "delete", uid: owner.metadata.uid };
  try {
    await client.patch<KubeObject>({ resource: children.resource, namespace, name }, {
      type: "strategic",
      body: { metadata: { uid, ownerReferences: [reference] } },
    });
  } catch (error) {
    // Invalid: the child has no ownerReferences any more, or is another by now.
    if (!isGone(error) && codeOf(error) !== 422) throw error;
  }
}

/** The HTTP code of an API error. */
export function codeOf(error: unknown): number | undefined {
  return (error as { code?: number } | undefined)?.code;
}

/** Whether an error says that the object is not there. */
export function isGone(error: unknown): boolean {
  return codeOf(error) === 404;
}

/** Whether a refusal only says that the namespace is going away. */
export function isNamespaceGoing(error: unknown): boolean {
  const status = (error as { status?: { details?: { causes?: { reason?: string }[] } } })?.status;
  return status?.details?.causes?.some((cause) => cause.reason === "NamespaceTerminating") ?? false;
}
