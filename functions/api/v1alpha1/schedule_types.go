package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// ScheduleSpec is when something happens, and what.
type ScheduleSpec struct {
	// Cron lines of five fields (minute, hour, day of month, month, day of
	// week), or one of @hourly, @daily, @weekly, @monthly and @yearly. A time
	// named by several lines happens once.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|[0-9A-Za-z*/,?-]+( +[0-9A-Za-z*/,?-]+){4})$`
	Cron []string `json:"cron"`

	// TimeZone in which the lines are read, a name of the IANA database such as
	// "Europe/Berlin"; UTC when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9_+/-]*$`
	TimeZone string `json:"timeZone,omitempty"`

	// Suspend stops the schedule. What would have happened meanwhile is not
	// made up for.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// CatchUpWindow is how late something may still happen, after a failure or
	// while the platform was away; what is older is recorded as missed. One
	// hour when empty, at least 10 s and at most a week ("168h").
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(s|m|h)){1,3}$`
	CatchUpWindow *metav1.Duration `json:"catchUpWindow,omitempty"`

	// Event is what is sent.
	// +optional
	Event EventTemplate `json:"event,omitzero"`

	// Sink is where it is sent: a Function, Broker, Channel, Knative Service or
	// another addressable object of the same namespace, or a URI.
	Sink Destination `json:"sink"`
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

// ActionResult is what became of a planned time.
//
// +kubebuilder:validation:Enum=Delivered;Failed;Missed
type ActionResult string

// The results of a planned time.
const (
	// ActionDelivered: the sink took the event.
	ActionDelivered ActionResult = "Delivered"
	// ActionFailed: the sink refused it, or did not take it within the window.
	ActionFailed ActionResult = "Failed"
	// ActionMissed: it was never tried, because the window was over.
	ActionMissed ActionResult = "Missed"
)

// ScheduleAction is a planned time and what became of it.
type ScheduleAction struct {
	// PlannedTime is when it should have happened.
	PlannedTime metav1.Time `json:"plannedTime"`
	// ActualTime is when it was settled.
	ActualTime metav1.MicroTime `json:"actualTime"`
	// ID of the event.
	// +optional
	ID string `json:"id,omitempty"`
	// Result of the action.
	Result ActionResult `json:"result"`
	// Attempts is how often it was sent.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// Count is how many planned times this entry stands for, beginning at
	// PlannedTime; one when empty. Missed times are recorded together.
	// +optional
	Count int32 `json:"count,omitempty"`
	// Message says why, unless it was delivered.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// PendingAction is an intent, written before the first attempt: whoever goes on
// after a crash sends the same event with the same id.
type PendingAction struct {
	// PlannedTime is when it should happen.
	PlannedTime metav1.Time `json:"plannedTime"`
	// ID of the event.
	ID string `json:"id"`
	// Attempts that are known to have failed.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// NextAttemptTime is when it is tried again.
	// +optional
	NextAttemptTime *metav1.MicroTime `json:"nextAttemptTime,omitempty"`
	// Message is the error of the last attempt.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// ScheduleStatus is what the scheduler remembers. Everything that it decides
// comes from here and from the spec, never from a timer's memory.
type ScheduleStatus struct {
	// ObservedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions hold Ready.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// LastHandledTime is the time up to which every planned time was settled.
	// +optional
	LastHandledTime *metav1.Time `json:"lastHandledTime,omitempty"`

	// NextTime is the next planned time; empty while suspended.
	// +optional
	NextTime *metav1.Time `json:"nextTime,omitempty"`

	// Pending is the action under way, if any.
	// +optional
	Pending *PendingAction `json:"pending,omitempty"`

	// LastActions are the latest actions, newest first, at most 20.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	LastActions []ScheduleAction `json:"lastActions,omitempty"`

	// Timetable is a fingerprint of the cron lines, the time zone and the
	// suspension that LastHandledTime belongs to. A changed timetable begins
	// anew; it plans nothing in the past.
	// +optional
	Timetable string `json:"timetable,omitempty"`

	// SinkURI is where events are sent.
	// +optional
	SinkURI string `json:"sinkUri,omitempty"`
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
