//! Repositories: made, described, deleted.

use std::ops::Bound;

use lath_control::paginate_from;
use lath_service::{Quota, Refuses, operations};
use lath_store::{Record as _, Tx, View};
use lath_wire::{ApiError, Caller};

use crate::record::{Removal, Repository as Record};
use crate::resource_types::{REPOSITORY, pairs};
use crate::shape::*;
use crate::{Ecr, fault, mutability, removal, tags};

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html>
const REPOSITORIES: Quota<&str> = Quota::new("repositories", "L-CFEB8E8D", 100_000);

operations! {
    for Ecr as "ecr";
    asynchronous CreateRepository -> OneRepository = create
        => on(&REPOSITORY, |op, _| op.repository_name.clone())
            .tagged(|op, _| pairs(op.tags.as_deref().unwrap_or_default()))
            .also("ecr:TagResource", &REPOSITORY, |op, _| {
                let any = op.tags.as_ref().is_some_and(|it| !it.is_empty());
                any.then(|| op.repository_name.clone())
            })
            .tagged(|op, _| pairs(op.tags.as_deref().unwrap_or_default()))
        => refusing ["" CreateRepository];
    read DescribeRepositories -> DescribeRepositoriesResponse = describe
        => on(&REPOSITORY, |op, _| match &op.repository_names {
            Some(names) if !names.is_empty() => names.clone(),
            _ => vec!["*".to_owned()],
        });
    asynchronous DeleteRepository -> OneRepository = delete
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
    change PutImageTagMutability -> PutImageTagMutabilityResponse = put_mutability
        => on(&REPOSITORY, |op, _| op.repository_name.clone());
}

impl Refuses for CreateRepository {
    fn names() -> Vec<String> {
        [
            "imageScanningConfiguration.scanOnPush: true",
            "encryptionConfiguration.encryptionType: KMS, KMS_DSSE",
            "encryptionConfiguration.kmsKey",
        ]
        .map(str::to_owned)
        .into()
    }

    fn refuse(&self) -> Result<(), ApiError> {
        let scanning = self.image_scanning_configuration.as_ref();
        if scanning.is_some_and(|it| it.scan_on_push == Some(true)) {
            return Err(fault::unsupported("scanning of images: scanOnPush"));
        }
        let encryption = self.encryption_configuration.as_ref();
        let by_key =
            |it: &Encryption| it.encryption_type != EncryptionType::Aes256 || it.kms_key.is_some();
        if encryption.is_some_and(by_key) {
            return Err(fault::unsupported("encryption with keys of KMS"));
        }
        Ok(())
    }
}

pub(crate) fn arn(app: &Ecr, name: &str) -> String {
    app.cell.arn("ecr", format!("repository/{name}"))
}

fn shown(app: &Ecr, it: &Record) -> Repository {
    let exclusions = Some(it.exclusions.clone()).filter(|it| !it.is_empty());
    Repository {
        repository_arn: Some(arn(app, &it.name)),
        registry_id: Some(app.cell.account.clone()),
        repository_name: Some(it.name.clone()),
        repository_uri: Some(format!("{}/{}", app.host(), it.name)),
        created_at: Some(it.created_at),
        image_tag_mutability: Some(it.mutability),
        image_tag_mutability_exclusion_filters: exclusions,
        image_scanning_configuration: Some(ScanningConfiguration {
            scan_on_push: Some(false),
        }),
        encryption_configuration: Some(Encryption {
            encryption_type: EncryptionType::Aes256,
            kms_key: None,
        }),
    }
}

fn one(app: &Ecr, it: &Record) -> OneRepository {
    OneRepository {
        repository: Some(shown(app, it)),
    }
}

async fn create(app: &Ecr, _: &Caller, op: CreateRepository) -> Result<OneRepository, ApiError> {
    fault::check_name(&op.repository_name)?;
    op.refuse()?;
    let own = &app.cell.account;
    if op.registry_id.as_ref().is_some_and(|it| it != own) {
        return Err(fault::invalid_parameter(
            "A repository is made in the registry of the caller's account.",
        ));
    }
    let mutability = op
        .image_tag_mutability
        .unwrap_or(ImageTagMutability::Mutable);
    let exclusions = mutability::checked(mutability, op.image_tag_mutability_exclusion_filters)?;
    let tags = tags::checked(op.tags.as_deref().unwrap_or_default())?;
    // What is left of an earlier repository of this name must not appear in the new one.
    removal::finish(app, &op.repository_name).await?;
    let made = app.cell.db.write(|tx| {
        let name = &op.repository_name;
        if tx.get::<Record>(name).is_some() {
            return Err(fault::coded(
                "RepositoryAlreadyExistsException",
                format!(
                    "The repository with name '{name}' already exists in the registry with id '{own}'"
                ),
            ));
        }
        if tx.get::<Removal>(name).is_some() {
            return Err(ApiError::internal("the repository is just being deleted"));
        }
        let count = tx.view().list::<Record>().count() + 1;
        REPOSITORIES.check(&app.cell, count, |it| {
            let text = format!("The number of repositories is limited to {}", it.limit);
            fault::coded("LimitExceededException", text)
        })?;
        Ok::<_, ApiError>(tx.put(Record {
            name: name.clone(),
            created_at: tx.now(),
            mutability,
            exclusions: exclusions.clone(),
            policy: None,
            tags: tags.clone(),
        }))
    });
    Ok(one(app, &*made.await?))
}

fn describe(
    app: &Ecr,
    view: &View,
    op: &DescribeRepositories,
) -> Result<DescribeRepositoriesResponse, ApiError> {
    let registry = op.registry_id.as_deref();
    let size = fault::page_size(op.max_results);
    if let Some(names) = op.repository_names.as_ref().filter(|it| !it.is_empty()) {
        if op.max_results.is_some() || op.next_token.is_some() {
            return Err(fault::invalid_parameter(
                "repositoryNames cannot be used with maxResults or nextToken.",
            ));
        }
        let found = names.iter().map(|name| {
            let found = fault::find(app, view, registry, name)?;
            Ok::<_, ApiError>(shown(app, &found))
        });
        return Ok(DescribeRepositoriesResponse {
            repositories: found.collect::<Result<_, _>>()?,
            next_token: None,
        });
    }
    let own = registry.is_none_or(|it| it == app.cell.account);
    let from = |start: Bound<String>| {
        let all = view.from::<Record>(start.as_ref().map(String::as_str));
        all.filter(|_| own)
    };
    let page = paginate_from(from, |it| it.name.clone(), size, op.next_token.as_deref())
        .map_err(|_| fault::bad_token())?;
    Ok(DescribeRepositoriesResponse {
        repositories: page.items.iter().map(|it| shown(app, it)).collect(),
        next_token: page.next_token,
    })
}

async fn delete(app: &Ecr, _: &Caller, op: DeleteRepository) -> Result<OneRepository, ApiError> {
    let name = &op.repository_name;
    let registry = op.registry_id.as_deref();
    fault::find(app, &app.cell.db.view(), registry, name)?;
    // The record goes first: from then on nothing is pushed. What names the images that are left outlives a crash.
    let (account, of) = (app.cell.account.clone(), name.clone());
    let forget = move |tx: &mut Tx| {
        let known = tx.get::<Record>(&of);
        let known = known.ok_or_else(|| fault::no_repository(&of, &account))?;
        tx.delete::<Record>(&known.id());
        tx.put(Removal { name: of });
        Ok::<_, ApiError>(known)
    };
    let gone = if op.force == Some(true) {
        app.cell.db.write(forget).await?
    } else {
        // A push waits meanwhile, and finds no repository then. The thread goes on if the caller does not.
        let (store, db) = (app.store(name)?, app.cell.db.clone());
        let here = tokio::runtime::Handle::current();
        let act = move || store.while_empty(|| here.block_on(db.write(forget)));
        let gone = crate::blocking(act).await?.map_err(crate::of_store)?;
        gone.ok_or_else(|| {
            fault::coded(
                "RepositoryNotEmptyException",
                format!(
                    "The repository with name '{name}' in registry with id '{}' cannot be deleted because it still contains images",
                    app.cell.account
                ),
            )
        })??
    };
    removal::finish(app, name).await?;
    Ok(one(app, &gone))
}

fn put_mutability(
    app: &Ecr,
    tx: &mut Tx,
    op: PutImageTagMutability,
) -> Result<PutImageTagMutabilityResponse, ApiError> {
    let registry = op.registry_id.as_deref();
    let known = fault::find(app, tx.view(), registry, &op.repository_name)?;
    let filters = op.image_tag_mutability_exclusion_filters;
    let mut next = Record::clone(&known);
    next.exclusions = mutability::checked(op.image_tag_mutability, filters)?;
    next.mutability = op.image_tag_mutability;
    let exclusions = Some(next.exclusions.clone()).filter(|it| !it.is_empty());
    tx.put(next);
    Ok(PutImageTagMutabilityResponse {
        registry_id: Some(app.cell.account.clone()),
        repository_name: Some(op.repository_name),
        image_tag_mutability: Some(op.image_tag_mutability),
        image_tag_mutability_exclusion_filters: exclusions,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use lath_registry::{Digest, Images, PutError};
    use lath_wire::Authorize;

    use super::*;
    use crate::{Login, Logins};

    /// No user logs in.
    struct NoLogins;

    impl Logins for NoLogins {
        fn login(&self, _: &Caller, _: Duration) -> Option<Login> {
            None
        }

        fn caller(&self, _: &str, _: &str, _: Option<IpAddr>) -> Option<Caller> {
            None
        }

        fn seal(&self, plain: &str) -> String {
            plain.to_owned()
        }

        fn open(&self, _: &str) -> Option<String> {
            None
        }

        fn judge(&self) -> &dyn Authorize {
            unreachable!("nothing is asked here")
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_repository_whose_image_is_just_coming_is_not_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path()).unwrap();
        let (cell, _observed) = lath_control::Cell::for_test();
        let app = Ecr::new(cell, images.clone(), Arc::new(NoLogins), String::new());
        let app = Arc::new(app);
        let caller = Caller::nobody("us-east-1", "ecr", "1", None);
        let request = CreateRepository {
            repository_name: "app".into(),
            ..CreateRepository::default()
        };
        create(&app, &caller, request).await.unwrap();
        let store = app.store("app").unwrap();
        let id = images.begin_upload("me").unwrap();
        images.append_upload(id, 0, b"{}").unwrap();
        let config = Digest::of(b"{}");
        store.finish_upload(id, &config).unwrap();
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/json","digest":"{config}","size":2}},"layers":[]}}"#
        );
        let delete = |app: Arc<Ecr>, caller: Caller| async move {
            let request = DeleteRepository {
                repository_name: "app".into(),
                ..DeleteRepository::default()
            };
            delete(&app, &caller, request).await
        };
        let exists = |app: &Ecr| app.cell.db.view().get::<Record>("app").is_some();
        let (of_push, of_caller, here) = (
            Arc::clone(&app),
            caller.clone(),
            tokio::runtime::Handle::current(),
        );
        let (pushing, text) = (store.clone(), manifest.clone());
        let push = tokio::task::spawn_blocking(move || {
            let mut deleting = None;
            // The push is judged; a deletion that begins now must wait for the image, and find it.
            let kept = pushing.put(text.as_bytes(), None, None, |_| {
                deleting = Some(here.spawn(delete(Arc::clone(&of_push), of_caller)));
                std::thread::sleep(Duration::from_millis(200));
                exists(&of_push).then_some(true)
            });
            (kept, deleting.unwrap())
        });
        let (kept, deleting) = push.await.unwrap();
        kept.unwrap();
        let refused = deleting.await.unwrap().err().unwrap();
        assert_eq!(refused.code, "RepositoryNotEmptyException");
        assert!(exists(&app));
        store.clear().unwrap();
        delete(Arc::clone(&app), caller).await.unwrap();
        let gone = store.put(manifest.as_bytes(), None, None, |_| {
            exists(&app).then_some(true)
        });
        assert!(matches!(gone, Err(PutError::Gone)));
    }
}
