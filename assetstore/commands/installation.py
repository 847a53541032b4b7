"""The settings and the store that the commands use."""

import dataclasses
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import click

from assetstore.app import bootstrap, startup
from assetstore.collections.mapping import Collections
from assetstore.commands.parameters import folder_of
from assetstore.config.loading import Settings
from assetstore.journal import events
from assetstore.journal.events import Origin
from assetstore.originals.service import Originals
from assetstore.thumbnails.service import Thumbnails

#: Recorded in the journal as the client of changes; DOCTOR for the doctor's test files.
COMMAND = Origin("", "manage.py")
DOCTOR = Origin("", events.of_doctor("manage.py"))


class Installation:
    """The settings and the store of the program in *folder*, opened on first use.

    Attributes:
        may_create: whether a command may create the folders of a store in BASE_DIR, as the server does. Only the
            command for collections may, because it is used before the first start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.may_create = False

    @cached_property
    def _loaded(self) -> tuple[Settings, Mapping[str, object]]:
        return startup.load_settings(self.folder)

    @property
    def configured(self) -> Settings:
        """The settings as configured, without collections added by command. Raises SettingsError."""
        return self._loaded[0]

    @property
    def own(self) -> Mapping[str, object]:
        """The names and values of settings.py. Raises SettingsError."""
        return self._loaded[1]

    @property
    def source(self) -> str:
        """Where the settings come from, for people. Raises SettingsError."""
        return startup.settings_source(self.folder)

    @property
    def described(self) -> str:
        """Which store and settings these are, for people. Raises SettingsError."""
        store = self.configured.storage_url or self.configured.base_dir
        return f"Store: {store} (settings: {self.source})"

    @cached_property
    def settings(self) -> Settings:
        """The effective settings, with all current collections. Raises SettingsError."""
        return dataclasses.replace(self.configured, collection_dirs=self.collections.folders())

    @cached_property
    def collections(self) -> Collections:
        """The mapping from collections to folders. Raises SettingsError."""
        return bootstrap.open_collections(self.configured)

    def collection_dirs(self, collection: str | None) -> list[str]:
        """Returns the folder of a collection, given by name or folder, or all folders. Raises click.UsageError."""
        chosen = folder_of(collection, self.settings)
        return list(self.originals.collection_dirs) if chosen is None else [chosen]

    @cached_property
    def originals(self) -> Originals:
        """The store, which must exist. Raises SettingsError."""
        if not self.may_create:
            bootstrap.check_store(self.configured, self.collections, self.source)
        if sys.stderr.isatty():
            click.echo(self.described, err=True)
        originals = bootstrap.open_originals(self.configured, self.folder, self.collections)
        context = click.get_current_context(silent=True)
        if context is not None:
            context.find_root().call_on_close(originals.journal.close)
        return originals

    @cached_property
    def thumbnails(self) -> Thumbnails:
        """The thumbnails of the store. Raises SettingsError."""
        return bootstrap.open_thumbnails(self.settings, self.originals)[0]
