package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ScheduleSpec is when something happens, and what.
//
// +kubebuilder:validation:XValidation:rule="has(self.cron) || has(self.at)",message="say when: set cron, at, or both"
type ScheduleSpec struct {
	// Cron lines of five fields (minute, hour, day of month, month, day of
	// week), or six with seconds before them, or one of @hourly, @daily,
	// @weekly, @monthly and @yearly, or an interval such as "@every 90s". A time
	// named by several lines happens once.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|@every +([0-9]{1,8}(h|m|s)){1,3}|[0-9A-Za-z*/,?-]+( +[0-9A-Za-z*/,?-]+){4,5})$`
	Cron []string `json:"cron,omitempty"`

	// At are single times, beside those of the cron lines.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	At []metav1.Time `json:"at,omitempty"`

	// TimeZone in which the lines are read, a name of the IANA database such as
	// "Europe/Berlin"; UTC when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+/-]*$`
	TimeZone string `json:"timeZone,omitempty"`

	// StartTime is before which nothing is planned. Intervals count from it;
	// without it they count from 1970-01-01T00:00:00Z, so that they are the same
	// for everybody.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// EndTime is after which nothing is planned.
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`

	// Jitter puts each planned time off, by less than this. By how much follows
	// from the Schedule and the time alone; it must be shorter than the time
	// between two planned times.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(s|m|h)){1,3}$`
	Jitter *metav1.Duration `json:"jitter,omitempty"`

	// Suspend stops the schedule. What would have happened meanwhile is not
	// made up for, but recorded as skipped.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// CatchUpWindow is how late something may still happen, after a failure or
	// while the platform was away; what is older is recorded as missed. One
	// hour when empty, at least 10 s and at most a week ("168h").
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(s|m|h)){1,3}$`
	CatchUpWindow *metav1.Duration `json:"catchUpWindow,omitempty"`

	// Overlap says what becomes of a planned time while an earlier action is not
	// settled: its sink has not answered yet, or is tried again. BufferAll when
	// empty.
	// +optional
	Overlap OverlapPolicy `json:"overlap,omitempty"`

	// MaxActions is after how many actions nothing more is planned; those that
	// were asked for by Requests do not count. Without it there is no end.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxActions *int64 `json:"maxActions,omitempty"`

	// PauseAfterFailures is after how many failed actions in a row the schedule
	// pauses itself, until ResumedFrom says that somebody has seen it. Without
	// it, it goes on.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	PauseAfterFailures *int32 `json:"pauseAfterFailures,omitempty"`

	// ResumedFrom ends the pause that began then: it is what status.pausedSince
	// said.
	// +optional
	ResumedFrom *metav1.Time `json:"resumedFrom,omitempty"`

	// HistoryLimit is how many actions status.lastActions keeps; 20 when empty.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	HistoryLimit *int32 `json:"historyLimit,omitempty"`

	// Requests ask for actions beside the timetable, to which neither a suspension
	// nor the overlap policy applies: one now, or those of a time that is over.
	// Each is acted on once; status.requests says how far it is. A request that is
	// taken out of the list is not gone on with.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Requests []ScheduleRequest `json:"requests,omitempty"`

	// Event is what is sent.
	// +optional
	Event EventTemplate `json:"event,omitzero"`

	// Sink is where it is sent: a Function, Broker, Channel, Knative Service or
	// another addressable object of the same namespace, or a URI.
	Sink Destination `json:"sink"`

	// Prewarm is how long before a planned time the sink, a Function, is asked for
	// its health. If it was scaled to zero, Knative starts it for that, and the
	// event finds it warm. At most 5 minutes; it should be longer than a cold
	// start, and shorter than the Function's scale.idleAfter.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(s|m|h)){1,3}$`
	Prewarm *metav1.Duration `json:"prewarm,omitempty"`

	// Timeout is how long the sink may take to answer one attempt. A minute when
	// empty, at most an hour.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(s|m|h)){1,3}$`
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// OverlapPolicy is what becomes of a planned time while an earlier action is
// under way.
//
// +kubebuilder:validation:Enum=Skip;BufferOne;BufferAll;CancelOther;TerminateOther;AllowAll
type OverlapPolicy string

// The policies about overlaps.
const (
	// OverlapSkip: it is skipped.
	OverlapSkip OverlapPolicy = "Skip"
	// OverlapBufferOne: the first waits, those after it are skipped.
	OverlapBufferOne OverlapPolicy = "BufferOne"
	// OverlapBufferAll: all wait, in their order, as long as the catch-up window
	// lets them.
	OverlapBufferAll OverlapPolicy = "BufferAll"
	// OverlapCancelOther: what is under way is cancelled, and waited for.
	OverlapCancelOther OverlapPolicy = "CancelOther"
	// OverlapTerminateOther: what is under way is cut off. For an event it is the
	// same as CancelOther: the connection to the sink is closed.
	OverlapTerminateOther OverlapPolicy = "TerminateOther"
	// OverlapAllowAll: both are under way, up to 10 at once; then they wait.
	OverlapAllowAll OverlapPolicy = "AllowAll"
)

// ScheduleRequest asks for actions beside the timetable.
//
// +kubebuilder:validation:XValidation:rule="has(self.at) != has(self.from)",message="set either at, or from and to"
// +kubebuilder:validation:XValidation:rule="has(self.from) == has(self.to)",message="from and to belong together"
type ScheduleRequest struct {
	// Name of the request, unlike all others that this Schedule ever had: it is
	// part of the ids of its events.
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	Name string `json:"name"`
	// At asks for one action; its planned time is this one.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
	// From asks for the actions of all planned times from this one on, whether
	// they were acted on or not, one after another.
	// +optional
	From *metav1.Time `json:"from,omitempty"`
	// To is the last of these times, itself included; it is not in the future.
	// +optional
	To *metav1.Time `json:"to,omitempty"`
}

// EventTemplate is the CloudEvent of a Schedule. Its id and time come from the
// planned time, so that a repeated delivery can be recognised.
type EventTemplate struct {
	// Type of the event; "dev.knit.schedule.tick" when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Type string `json:"type,omitempty"`
	// Source of the event; the path of the Schedule in the API when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Source string `json:"source,omitempty"`
	// Subject of the event.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Subject string `json:"subject,omitempty"`
	// Data is any JSON value, sent as application/json; at most 64 KiB.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Data *runtime.RawExtension `json:"data,omitempty"`
}

// Schedule sends an event at planned times.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories={knit}
// +kubebuilder:printcolumn:name="Cron",type=string,JSONPath=`.spec.cron`
// +kubebuilder:printcolumn:name="Zone",type=string,JSONPath=`.spec.timeZone`
// +kubebuilder:printcolumn:name="Suspend",type=boolean,JSONPath=`.spec.suspend`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Next",type=string,JSONPath=`.status.nextTime`
// +kubebuilder:printcolumn:name="Last",type=string,JSONPath=`.status.lastActions[0].result`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Schedule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ScheduleSpec `json:"spec"`
	// +optional
	Status ScheduleStatus `json:"status,omitzero"`
}

// ScheduleList is a list of Schedules.
//
// +kubebuilder:object:root=true
type ScheduleList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Schedule `json:"items"`
}
