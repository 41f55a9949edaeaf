// The schema of every kind that the manifests use, and what strictness means: a field that the schema does not know is an error, which
// the API server's own validation only warns of or drops.
import Ajv from 'ajv';

const core = 'kubernetes-models/_schemas/IoK8sApi';
const monitoring = '@kubernetes-models/prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1';
const KINDS = {
  'v1/ConfigMap': `${core}CoreV1ConfigMap`,
  'v1/Service': `${core}CoreV1Service`,
  'v1/ServiceAccount': `${core}CoreV1ServiceAccount`,
  'apps/v1/Deployment': `${core}AppsV1Deployment`,
  'autoscaling/v2/HorizontalPodAutoscaler': `${core}AutoscalingV2HorizontalPodAutoscaler`,
  'networking.k8s.io/v1/NetworkPolicy': `${core}NetworkingV1NetworkPolicy`,
  'policy/v1/PodDisruptionBudget': `${core}PolicyV1PodDisruptionBudget`,
  'keda.sh/v1alpha1/ScaledObject': '@kubernetes-models/keda/_schemas/ComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObject',
  'monitoring.coreos.com/v1/ServiceMonitor': `${monitoring}ServiceMonitor`,
  'monitoring.coreos.com/v1/PrometheusRule': `${monitoring}PrometheusRule`,
  'gateway.networking.k8s.io/v1/HTTPRoute': '@kubernetes-models/gateway-api/_schemas/IoK8sSigsGatewayApiApisV1HTTPRoute',
};

// No package carries this kind. Fields and bounds as the Gateway API Inference Extension documents them for v1
// (https://gateway-api-inference-extension.sigs.k8s.io/reference/spec/); written here, not copied.
const name = { type: 'string', minLength: 1, maxLength: 253 };
const port = { type: 'integer', minimum: 1, maximum: 65535 };
const closed = (properties, required = []) => ({ type: 'object', additionalProperties: false, properties, required });
const inferencePool = closed({
  apiVersion: { const: 'inference.networking.k8s.io/v1' },
  kind: { const: 'InferencePool' },
  metadata: { type: 'object' },
  spec: closed({
    selector: closed({ matchLabels: { type: 'object', minProperties: 1, maxProperties: 64, additionalProperties: { type: 'string', maxLength: 63 } } }, ['matchLabels']),
    targetPorts: { type: 'array', minItems: 1, maxItems: 8, items: closed({ number: port }, ['number']) },
    appProtocol: { enum: ['http', 'kubernetes.io/h2c'] },
    endpointPickerRef: closed({
      group: { type: 'string' }, kind: name, name, port: closed({ number: port }, ['number']), failureMode: { enum: ['FailOpen', 'FailClose'] },
    }, ['name']),
  }, ['selector', 'targetPorts', 'endpointPickerRef']),
}, ['apiVersion', 'kind', 'metadata', 'spec']);

// Not all of these packages export their schemas by name; the files are there.
const load = (path) => import(new URL(`./node_modules/${path}.js`, import.meta.url));
const objectMeta = () => load('@kubernetes-models/apimachinery/_schemas/IoK8sApimachineryPkgApisMetaV1ObjectMeta');
const checkPool = new Ajv({ allErrors: true }).compile(inferencePool);

/** Problems of an object, one line each; none = it is valid. */
export async function problemsOf(object) {
  const key = `${object.apiVersion}/${object.kind}`;
  if (key === 'inference.networking.k8s.io/v1/InferencePool') {
    const found = checkPool(object) ? [] : checkPool.errors.map(line);
    return [...found, ...strictly((await objectMeta()).validate, object.metadata ?? {}, '/metadata')];
  }
  if (!Object.hasOwn(KINDS, key)) return [`no schema is known for ${key}`];
  return strictly((await load(KINDS[key])).validate, object, '');
}

const line = (error) => `${error.instancePath || '/'} ${error.message ?? error.keyword} ${JSON.stringify(error.params)}`;

// The packages carry each schema compiled, and compiled code reads every property that its schema declares (all of them where the schema
// is a map). So a property that nobody has read is one that the schema does not know.
function strictly(validate, object, root) {
  const unread = new Set();
  const watched = watch(object, root, unread);
  const found = validate(watched, { instancePath: root, parentData: {}, parentDataProperty: '', rootData: watched }) ? [] : validate.errors.map(line);
  const topmost = [...unread].filter((path) => ![...unread].some((other) => path.startsWith(`${other}/`)));
  return [...found, ...topmost.map((path) => `${path} is not a field of this kind`)];
}

function watch(value, path, unread) {
  if (value === null || typeof value !== 'object') return value;
  const children = {};
  for (const [key, child] of Object.entries(value)) {
    if (!Array.isArray(value)) unread.add(`${path}/${key}`);
    children[key] = watch(child, `${path}/${key}`, unread);
  }
  return new Proxy(value, {
    get: (target, key) => {
      unread.delete(`${path}/${String(key)}`);
      return Object.hasOwn(target, key) && typeof key === 'string' && key !== 'length' ? children[key] : Reflect.get(target, key);
    },
  });
}
