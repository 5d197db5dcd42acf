package keda

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // of cron triggers, wherever this runs

	"github.com/robfig/cron/v3"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TriggerTypes are those of KEDA 2.21 (pkg/scaling/scalers_builder.go).
var TriggerTypes = []string{
	"activemq", "apache-kafka", "arangodb", "artemis-queue", "aws-cloudwatch", "aws-dynamodb", "aws-dynamodb-streams",
	"aws-kinesis-stream", "aws-sqs-queue", "azure-app-insights", "azure-blob", "azure-cosmosdb", "azure-data-explorer",
	"azure-eventhub", "azure-log-analytics", "azure-monitor", "azure-pipelines", "azure-queue", "azure-servicebus", "beanstalkd",
	"cassandra", "clickhouse", "couchdb", "cpu", "cron", "datadog", "dynatrace", "elastic-forecast", "elasticsearch", "etcd",
	"external", "external-push", "forgejo-runner", "gcp-cloudtasks", "gcp-pubsub", "gcp-spanner", "gcp-stackdriver", "gcp-storage",
	"github-runner", "graphite", "huawei-cloudeye", "ibmmq", "influxdb", "kafka", "kubernetes-resource", "kubernetes-workload",
	"liiklus", "loki", "memory", "metrics-api", "mongodb", "mssql", "mysql", "nats-jetstream", "new-relic", "nsq", "opensearch",
	"openstack-metric", "openstack-swift", "postgresql", "predictkube", "prometheus", "pulsar", "rabbitmq", "redis",
	"redis-cluster", "redis-cluster-streams", "redis-sentinel", "redis-sentinel-streams", "redis-streams", "selenium-grid",
	"solace-direct-messaging", "solace-event-queue", "solarwinds", "solr", "splunk", "splunk-observability", "sumologic",
	"temporal",
}

// Query asks Prometheus for the values of the elements of a query's result at an instant.
type Query func(query string, at time.Time) ([]float64, error)

// Reading is what a trigger of a type that has a source of its own tells, as KEDA gives it to the HPA and goes by it itself.
type Reading struct {
	Metric string // its name in external.metrics.k8s.io
	Value  resource.Quantity
	Active bool
	Err    error // the source did not answer, or not with one number
}

// Check says which trigger, or which field of the ScaledObject, this package has no rules for.
func (s *ScaledObject) Check() error {
	if a := s.Advanced; a != nil && a.ScalingModifiers != nil && a.ScalingModifiers.Formula != "" {
		return errors.New("scalingModifiers are not known here")
	}
	if s.Advanced != nil && s.Advanced.RestoreToOriginalReplicaCount {
		return errors.New("restoreToOriginalReplicaCount is not known here")
	}
	if s.Fallback != nil {
		return errors.New("a fallback is not known here")
	}
	if s.Polling() < time.Second {
		return fmt.Errorf("pollingInterval is %s and must be 1 s or more", s.Polling())
	}
	for i, t := range s.Triggers {
		err := t.check()
		if !t.ofPods() && t.Type != "prometheus" && t.Type != "cron" {
			err = errors.New("is not known here: prometheus, cron, cpu and memory are")
		}
		if err != nil {
			return fmt.Errorf("trigger %d of type %s: %w", i, t.Type, err)
		}
	}
	return nil
}

// check says what its scaler refuses (prometheus_scaler.go, cron_scaler.go and cpu_memory_scaler.go in pkg/scalers); of other types
// nothing is known.
func (t *Trigger) check() error {
	switch t.Type {
	case "cpu", "memory":
		kind, value := cmp.Or(t.MetricType, t.Metadata["type"]), t.Metadata["value"]
		_, err := resource.ParseQuantity(value)
		if kind == string(autoscalingv2.UtilizationMetricType) {
			_, err = strconv.ParseInt(value, 10, 32)
		}
		switch {
		case t.MetricType != "" && t.Metadata["type"] != "":
			return errors.New("metricType and metadata.type say the same: leave the second out")
		case kind != string(autoscalingv2.UtilizationMetricType) && kind != string(autoscalingv2.AverageValueMetricType):
			return errors.New("metricType must be Utilization or AverageValue")
		case err != nil:
			return fmt.Errorf("value is %q and must be %s", value, map[bool]string{true: "whole percents of the requests", false: "a quantity"}[kind == string(autoscalingv2.UtilizationMetricType)])
		}
	case "cron":
		_, _, _, err := t.hours()
		if _, unknown := time.LoadLocation(t.Metadata["timezone"]); err == nil && (unknown != nil || t.Metadata["timezone"] == "") {
			err = fmt.Errorf("timezone is %q and must be one of the IANA time zones, such as Europe/Berlin", t.Metadata["timezone"])
		}
		return err
	case "prometheus":
		for _, field := range []string{"serverAddress", "query", "threshold"} {
			if strings.TrimSpace(t.Metadata[field]) == "" {
				return fmt.Errorf("metadata has no %s", field)
			}
		}
		_, ofThreshold := t.number("threshold")
		_, ofActivation := t.activation()
		_, ofIgnore := t.ignoresNull()
		return cmp.Or(ofThreshold, ofActivation, ofIgnore)
	}
	return nil
}

// Ask asks each trigger that has a source of its own, and says whether one of them is active, or one failed. CPU and memory
// alone are always active.
func (s *ScaledObject) Ask(at time.Time, query Query) (readings []Reading, active, failed bool) {
	for i, t := range s.Triggers {
		if t.ofPods() {
			continue
		}
		r := Reading{Metric: t.metricName(i)}
		var value float64
		value, r.Active, r.Err = t.read(at, query)
		r.Value = quantity(value)
		readings, active, failed = append(readings, r), active || r.Active, failed || r.Err != nil
	}
	return readings, active || len(readings) == 0, failed
}

// ofPods says whether the trigger is a resource of the pods, which the HPA reads from metrics.k8s.io.
func (t *Trigger) ofPods() bool { return t.Type == "cpu" || t.Type == "memory" }

func (t *Trigger) read(at time.Time, query Query) (value float64, active bool, err error) {
	if t.Type == "cron" {
		return t.readCron(at)
	}
	// As ExecutePromQuery in pkg/scalers/prometheus_scaler.go.
	ignore, err := t.ignoresNull()
	if err != nil {
		return 0, false, err
	}
	activation, err := t.activation()
	if err != nil {
		return 0, false, err
	}
	values, err := query(t.Metadata["query"], at)
	switch {
	case err != nil:
		return 0, false, err
	case len(values) > 1:
		return 0, false, fmt.Errorf("prometheus query %s returned multiple elements", t.Metadata["query"])
	case len(values) == 0 && !ignore:
		return 0, false, errors.New("prometheus metrics 'prometheus' target may be lost, the result is empty")
	case len(values) == 0:
		value = 0
	case !math.IsNaN(values[0]) && !math.IsInf(values[0], 0):
		value = values[0]
	case !ignore:
		return 0, false, fmt.Errorf("prometheus query returns %f", values[0])
	}
	return value, value > activation, nil
}

func (t *Trigger) ignoresNull() (bool, error) {
	ignore, err := strconv.ParseBool(cmp.Or(t.Metadata["ignoreNullValues"], "true"))
	if err != nil {
		return false, fmt.Errorf("ignoreNullValues is %q and must be true or false", t.Metadata["ignoreNullValues"])
	}
	return ignore, nil
}

func (t *Trigger) activation() (float64, error) {
	if t.Metadata["activationThreshold"] == "" {
		return 0, nil
	}
	return t.number("activationThreshold")
}

// Setting is where a setting of hpabench is among the triggers: threshold and activationThreshold are of the first one of type prometheus;
// target is the value of the first one of cpu or memory, else such a threshold. trigger is -1 where there is none.
func (s *ScaledObject) Setting(name string) (trigger int, field string) {
	if name == "target" {
		if i := slices.IndexFunc(s.Triggers, func(t Trigger) bool { return t.ofPods() }); i >= 0 {
			return i, "value"
		}
		name = "threshold"
	}
	return slices.IndexFunc(s.Triggers, func(t Trigger) bool { return t.Type == "prometheus" }), name
}

// InPercent says whether its value is a utilization.
func (t *Trigger) InPercent() bool {
	return t.ofPods() && cmp.Or(t.MetricType, t.Metadata["type"]) == string(autoscalingv2.UtilizationMetricType)
}

// Activation is the value above which the trigger is active.
func (t *Trigger) Activation() float64 {
	v, _ := t.activation() // Check refuses what is no number
	return v
}

// readCron is as GetMetricsAndActivity in pkg/scalers/cron_scaler.go: it is within the hours if their end comes before their
// next start. Of a schedule that never comes, as one of February 30, the next is the zero time.
func (t *Trigger) readCron(at time.Time) (value float64, active bool, err error) {
	start, end, replicas, err := t.hours()
	if err != nil {
		return 0, false, err
	}
	place, err := time.LoadLocation(t.Metadata["timezone"])
	if err != nil {
		return 0, false, fmt.Errorf("unable to load timezone: %w", err)
	}
	at = at.In(place)
	begins, ends := start.Next(at), end.Next(at)
	if active = at.After(begins) || at.Before(ends); begins.Before(ends) {
		active = at.After(begins) && at.Before(ends)
	}
	if active {
		value = float64(replicas)
	}
	return value, active, nil
}

// hours are the schedules of a cron trigger and how many replicas it wants between them.
func (t *Trigger) hours() (start, end cron.Schedule, replicas int64, err error) {
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	if start, err = parser.Parse(t.Metadata["start"]); err != nil {
		return nil, nil, 0, fmt.Errorf("error parsing start schedule: %w", err)
	}
	if end, err = parser.Parse(t.Metadata["end"]); err != nil {
		return nil, nil, 0, fmt.Errorf("error parsing end schedule: %w", err)
	}
	if t.Metadata["start"] == t.Metadata["end"] {
		return nil, nil, 0, errors.New("start and end can not have exactly same time input")
	}
	replicas, err = strconv.ParseInt(t.Metadata["desiredReplicas"], 10, 64)
	if err != nil || replicas == 0 {
		return nil, nil, 0, errors.New("no desiredReplicas specified")
	}
	return start, end, replicas, nil
}

// number is a number of the metadata.
func (t *Trigger) number(field string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(t.Metadata[field]), 64)
	if err != nil || math.IsNaN(v) || math.Abs(v) > mostValue {
		return 0, fmt.Errorf("%s is %q and must be a number", field, t.Metadata[field])
	}
	return v, nil
}

// inName replaces what the name of a metric cannot have.
var (
	inName     = strings.NewReplacer("/", "-", ".", "-", ":", "-", "%", "-", "(", "-", ")", "-")
	inSchedule = strings.NewReplacer(" ", "", "*", "x", "/", "Sl", "?", "Qm", ",", "Cm")
)

// metricName is how KEDA names the metric of the ith trigger; of types that this package does not know it is a guess.
func (t *Trigger) metricName(i int) string {
	name := strings.ToLower(t.Type)
	if t.Type == "cron" {
		name = inName.Replace(fmt.Sprintf("cron-%s-%s-%s", t.Metadata["timezone"], inSchedule.Replace(t.Metadata["start"]), inSchedule.Replace(t.Metadata["end"])))
	}
	return fmt.Sprintf("s%d-%s", i, name)
}

// target is what the HPA wants of the trigger's metric: of a type that this package does not know, 1 a pod.
func (t *Trigger) target() autoscalingv2.MetricTarget {
	value := quantity(1)
	if threshold, err := t.number("threshold"); err == nil && t.Type == "prometheus" {
		value = quantity(threshold)
	}
	if kind := autoscalingv2.MetricTargetType(t.MetricType); kind == autoscalingv2.ValueMetricType {
		return autoscalingv2.MetricTarget{Type: kind, Value: &value}
	}
	return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: &value}
}

// mostValue bounds a value, as a quantity's thousandths are 64 bits.
const mostValue = math.MaxInt64 / 1000

// quantity is a number in thousandths; one that is negative or no number is 0 (quantityFromFloat64 in pkg/scalers/scaler.go).
func quantity(v float64) resource.Quantity {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		v = 0
	}
	v = min(v, mostValue)
	q := resource.MustParse(fmt.Sprintf("%.3f", v))
	q.Add(resource.Quantity{}) // which makes its text the canonical one
	return q
}

// MetricName is the name in external.metrics.k8s.io of the ith trigger's metric; empty of CPU and memory.
func (s *ScaledObject) MetricName(i int) string {
	if s.Triggers[i].ofPods() {
		return ""
	}
	return s.Triggers[i].metricName(i)
}

// Cached says whether KEDA answers the HPA for a metric by what it read at its last poll.
func (s *ScaledObject) Cached(metric string) bool {
	for i, t := range s.Triggers {
		if !t.ofPods() && t.metricName(i) == metric {
			return t.UseCachedMetrics
		}
	}
	return false
}
