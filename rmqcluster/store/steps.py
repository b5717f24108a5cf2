"""Which script carries out which action, and with what arguments; what is drawn by lot is drawn here."""

import random
import uuid

from rmqcluster.core import actions as a
from rmqcluster.core.model import Policy
from rmqcluster.store import scripts
from rmqcluster.store.keys import COMMIT_MARGIN_SECONDS
from rmqcluster.store.lua import Script
from rmqcluster.store.text import printable

OPERATION_ID_DIGITS = 12  # short enough to be read out; there is one operation at a time
ASKER_LIMIT = 200  # characters
Step = tuple[Script, *tuple[str | int | float, ...]]
Founding = a.ClaimFounding | a.AbandonClaim | a.CommitFounding | a.RestoreRecord | a.OfferFounder
Operating = a.StartOperation | a.ClaimOperation | a.ReadyOperation | a.EndOperation | a.ForgetName


def step_for(action: a.StoreAction, policy: Policy) -> Step:
    """The script and its own arguments."""
    match action:
        case a.ClaimFounding() | a.AbandonClaim() | a.CommitFounding() | a.RestoreRecord() | a.OfferFounder():
            return _founding(action, policy)
        case a.StartOperation() | a.ClaimOperation() | a.ReadyOperation() | a.EndOperation() | a.ForgetName():
            return _operating(action)
        case a.TakeOwnership(replaces):
            return scripts.TAKE_OWNERSHIP, replaces or ""
        case a.TakeLease(floor):
            return scripts.TAKE_LEASE, floor
        case a.ReleaseLease():
            return (scripts.RELEASE_LEASE,)
        case a.RemoveMember(node, epoch):
            return scripts.REMOVE_MEMBER, node, epoch
        case a.SetMaster(node, replaces, epoch):
            return scripts.SET_MASTER, node, epoch, replaces or ""
        case a.Leave(final):
            return scripts.LEAVE, int(final)


def _founding(action: Founding, policy: Policy) -> Step:
    match action:
        case a.ClaimFounding(seed):
            drawn = f"{random.Random(seed).getrandbits(128):032x}" if seed else uuid.uuid4().hex
            return scripts.CLAIM_FOUNDING, drawn, policy.majority
        case a.AbandonClaim():
            return (scripts.ABANDON_CLAIM,)
        case a.CommitFounding(cluster_id):
            return scripts.COMMIT_FOUNDING, cluster_id, policy.heartbeat_seconds + COMMIT_MARGIN_SECONDS
        case a.RestoreRecord(cluster_id, epoch, replaces):
            return scripts.RESTORE_RECORD, cluster_id, epoch, replaces or ""
        case a.OfferFounder(node):
            return scripts.OFFER_FOUNDER, node


def _operating(action: Operating) -> Step:
    match action:
        case a.StartOperation(kind, subject, seconds):
            drawn = action.id or uuid.uuid4().hex[:OPERATION_ID_DIGITS]
            names = (str(kind), subject, action.executor, printable(action.by, ASKER_LIMIT))
            more = (action.epoch, seconds, int(action.consent), action.target or "", printable(action.why))
            return scripts.START_OPERATION, drawn, *names, *more
        case a.ClaimOperation(operation, epoch):
            return scripts.CLAIM_OPERATION, operation.id, epoch
        case a.ReadyOperation(operation):
            return scripts.READY_OPERATION, operation.id
        case a.EndOperation(operation):
            return scripts.END_OPERATION, operation.id
        case a.ForgetName(node, epoch):
            return scripts.FORGET_NAME, node, epoch
